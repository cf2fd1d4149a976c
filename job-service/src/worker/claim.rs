//! From the slot to the ledger: an announcement is claimed, then run; it is acked as soon as it need not bring its run on.

use std::time::Duration;

use async_nats::jetstream::Message;
use service_kit::{
    dead_letters::{Decision, Reason},
    failpoints::failpoint,
    telemetry::chain,
};
use shared_events::{Envelope, JobCreated, RunId, Timestamp, batch, streams};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::{
    Worker,
    active_runs::ClaimGuard,
    claimed::{Announced, Claimed},
    kind_slots::Slot,
    late_ack::{PendingAck, RecoveredBy},
    origin::Origin,
    spans::ClaimSpan,
};
use crate::{history::HistoryEvent, metrics};

/// Why a message that can be read is not acted on, nor lost.
pub(crate) const UNREADABLE_RUN: &str = "about a run whose document this version can not read";

/// What a claim means for its announcement.
#[derive(Debug, PartialEq, Eq)]
enum AnnouncementStep {
    /// It stays unacked while what follows is done, since only it brings the run on after a crash.
    Keep,
    /// It is acked, then what follows is done.
    Ack,
    /// It comes again after this time, and nothing follows.
    GiveBack(Duration),
    /// A newer version has to decide.
    LeaveToNewer,
}

impl AnnouncementStep {
    fn after(claimed: &Claimed) -> Self {
        match claimed {
            Claimed::Mine(run) | Claimed::Ended(run) if run.is_recovered_by_redelivery() => Self::Keep,
            Claimed::Mine(_) | Claimed::Ended(_) | Claimed::Settled(_) => Self::Ack,
            Claimed::Later(_, delay) => Self::GiveBack(*delay),
            Claimed::Unreadable(_) => Self::LeaveToNewer,
        }
    }
}

impl Worker {
    /// Claims and runs, in a task of its own; without a slot the announcement is given back.
    pub(super) fn attend(&self, message: Message, origin: Origin, slot: Option<OwnedSemaphorePermit>) {
        let worker = self.clone();
        self.tasks.spawn(async move {
            let Some(slot) = slot else { return PendingAck::new(message, origin).give_back(None).await };
            worker.claim(message, origin, slot).await;
        });
    }

    async fn claim(&self, message: Message, origin: Origin, slot: OwnedSemaphorePermit) {
        let mut sorted = self.messages.sort(std::slice::from_ref(&message), JobCreated::decode);
        if let Err(error) = self.mongo().keep_dead_letters(&sorted.dead_letters).await {
            warn!(error = chain(&error), "message can not be kept as a dead letter now; given back");
            return PendingAck::new(message, origin).give_back(Some(retry_after())).await;
        }
        let comes_again = sorted.given_back.first().map(|(_, pause)| *pause);
        if batch::is_batch(&message.payload) {
            return self.claim_bundle(sorted.events, comes_again, message, origin, slot).await;
        }
        match (sorted.events.pop(), comes_again) {
            (Some(announced), _) => self.claim_one(announced, message, origin, slot).await,
            (None, Some(pause)) => PendingAck::new(message, origin).give_back(Some(pause)).await,
            (None, None) => PendingAck::new(message, origin).ack().await,
        }
    }

    async fn claim_one(
        &self,
        announced: Envelope<JobCreated>,
        message: Message,
        origin: Origin,
        slot: OwnedSemaphorePermit,
    ) {
        if self.is_stale(&announced) {
            return PendingAck::new(message, origin).ack().await;
        }
        let run_id = announced.data.run_id();
        let span = ClaimSpan::begin(&announced);
        failpoint("job.fetch.fetched");
        self.remember_redelivery(&message, run_id);
        let Some(guard) = self.claimer.guard(run_id) else {
            // It came a second time while the first is being decided: in a moment the ledger knows.
            return PendingAck::new(message, origin).give_back(Some(retry_after())).await;
        };
        let announced_at = announced.time;
        let kind = announced.data.kind.clone();
        let place = match self.place(&kind, &announced.data.queue, slot).await {
            Ok(Some(place)) => place,
            Ok(None) => return PendingAck::new(message, origin).give_back(None).await,
            Err(error) => {
                warn!(target: "job", { job.id = %run_id.job, run = run_id.run, error = chain(&error) }, "not known whether it may wait; announcement given back");
                return PendingAck::new(message, origin).give_back(Some(retry_after())).await;
            }
        };
        let announced = Announced {
            created: announced.data,
            trace: announced.traceparent,
            span: span.as_ref().map(ClaimSpan::context),
            late_ack: true,
            waits: place.is_waiting(),
        };
        let claimed = self.claimer.claim(announced).await;
        if let Some(span) = span {
            span.end(claimed.as_ref().err().map(|error| chain(error)));
        }
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                warn!(target: "job", { job.id = %run_id.job, run = run_id.run, error = chain(&error) }, "not claimed; announcement given back");
                return PendingAck::new(message, origin).give_back(Some(retry_after())).await;
            }
        };
        self.count_wait(&claimed, announced_at);
        failpoint("job.claim.stored");
        let slot = self.taken(place, &kind);
        match AnnouncementStep::after(&claimed) {
            AnnouncementStep::Keep => {
                let recovered_by = RecoveredBy::Redelivery(PendingAck::new(message, origin));
                self.go_on(claimed, slot, guard, recovered_by).await;
            }
            AnnouncementStep::Ack => {
                PendingAck::new(message, origin).ack().await;
                self.go_on(claimed, slot, guard, RecoveredBy::DueScan).await;
            }
            AnnouncementStep::GiveBack(delay) => {
                PendingAck::new(message, origin).give_back(Some(delay)).await;
            }
            AnnouncementStep::LeaveToNewer => self.leave_to_newer(message, origin).await,
        }
    }

    /// What the message is about, a newer worker has to decide.
    pub(super) async fn leave_to_newer(&self, message: Message, origin: Origin) {
        let pause = match self.messages.decide(&message, &UNREADABLE_RUN) {
            Decision::GiveBack(pause) => pause,
            Decision::DeadLetter => {
                // All of it: what is done already changes nothing when it is taken up.
                let letter = self.messages.letter(&message, None, Reason::NewerVersion, &UNREADABLE_RUN);
                match self.mongo().keep_dead_letters(&[letter]).await {
                    Ok(()) => return PendingAck::new(message, origin).ack().await,
                    Err(_) => retry_after(),
                }
            }
        };
        PendingAck::new(message, origin).give_back(Some(pause)).await;
    }

    /// Whether the ledger's memory of the run may be gone by now.
    pub(super) fn is_stale(&self, announced: &Envelope<JobCreated>) -> bool {
        let now = Timestamp::from_millis(self.mongo().clock().now_ms());
        let is_stale = now.since(announced.time) > streams::STALE_AFTER;
        if is_stale {
            info!(run.id = %announced.data.run_id(), "announcement is stale; the reconciler makes a fresh one");
        }
        is_stale
    }

    fn remember_redelivery(&self, message: &Message, run: RunId) {
        let history = &self.executor.history;
        if history.is_on() && message.info().is_ok_and(|info| info.delivered > 1) {
            history.add(HistoryEvent::Redelivered, run, 0);
        }
    }

    pub(super) fn count_wait(&self, claimed: &Claimed, announced: Timestamp) {
        if let Claimed::Mine(run) = claimed {
            metrics::waited(run, announced, self.mongo().clock().now_ms());
        }
    }

    /// Does what a claim asks for; `recovered_by` is what brings the run on, should this worker die.
    pub(super) async fn go_on(
        &self,
        claimed: Claimed,
        slot: Option<Slot>,
        guard: ClaimGuard,
        recovered_by: RecoveredBy,
    ) {
        match (claimed, slot) {
            (Claimed::Mine(run), Some(slot)) => self.executor.run(*run, slot, guard, recovered_by).await,
            (Claimed::Ended(run), _) => {
                metrics::run_ended(&run);
                self.executor.announce(*run, recovered_by).await;
            }
            // What has no slot is claimed to wait, and is never this worker's.
            (Claimed::Mine(_), None) => {}
            (Claimed::Later(..) | Claimed::Settled(_) | Claimed::Unreadable(_), _) => {}
        }
    }
}

/// When an announcement is to come again about which nothing could be decided.
pub(super) fn retry_after() -> Duration {
    Duration::from_millis(rand::random_range(1000..3000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::running;

    #[test]
    fn an_announcement_stays_unacked_only_where_it_has_to_bring_its_run_on() {
        let id = running().id;
        let mine = |run| Claimed::Mine(Box::new(run));
        let ended = || running().given_up(running().created_at);
        let delay = Duration::from_secs(7);
        for (claimed, step) in [
            (mine(running().recovered_by_redelivery()), AnnouncementStep::Keep),
            (mine(running()), AnnouncementStep::Ack),
            (Claimed::Ended(Box::new(ended().recovered_by_redelivery())), AnnouncementStep::Keep),
            (Claimed::Ended(Box::new(ended())), AnnouncementStep::Ack),
            (Claimed::Settled(id), AnnouncementStep::Ack),
            (Claimed::Later(id, delay), AnnouncementStep::GiveBack(delay)),
            (Claimed::Unreadable(id), AnnouncementStep::LeaveToNewer),
        ] {
            assert_eq!(AnnouncementStep::after(&claimed), step, "{claimed:?}");
        }
    }
}
