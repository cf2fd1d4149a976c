//! Announcements that come several in one message, or from the dead letters: each is claimed with a time in the ledger, so
//! that nothing depends on what becomes of the message.
//!
//! A worker claims as many as it has slots for, and gives the message back; the next finds those settled.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::Message;
use futures::future::join_all;
use service_kit::{
    StoreError,
    dead_letters::{DeadLetter, TakeUp, TakenUp},
    failpoints::failpoint,
    telemetry::chain,
};
use shared_events::{Envelope, JobCreated, batch, streams};
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::{
    Worker,
    claim::retry_after,
    claimed::{Announced, Claimed},
    kind_slots::Slot,
    late_ack::{PendingAck, RecoveredBy},
    origin::Origin,
    spans::ClaimSpan,
};
use crate::{ledger::Run, metrics};

/// What became of announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claims {
    /// The ledger has all of them, with a due time where anything is left to do.
    Settled,
    /// What is left is about runs that this version can not read.
    Unreadable,
    /// Some are to be looked at again, after this time.
    Again(Duration),
    /// There was no slot for some.
    NoSlot,
}

impl Claims {
    /// The sooner of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoSlot, _) | (_, Self::NoSlot) => Self::NoSlot,
            (Self::Again(one), Self::Again(other)) => Self::Again(one.min(other)),
            (Self::Again(pause), _) | (_, Self::Again(pause)) => Self::Again(pause),
            (Self::Unreadable, _) | (_, Self::Unreadable) => Self::Unreadable,
            (Self::Settled, Self::Settled) => Self::Settled,
        }
    }
}

impl Worker {
    /// Claims the announcements of one message, and runs them. `comes_again` says that the message holds something
    /// for a newer version too.
    pub(super) async fn claim_bundle(
        &self,
        announcements: Vec<Envelope<JobCreated>>,
        comes_again: Option<Duration>,
        message: Message,
        origin: Origin,
        slot: OwnedSemaphorePermit,
    ) {
        let claims = self.claim_all(announcements, slot).await;
        if claims == Claims::Unreadable {
            return self.leave_to_newer(message, origin).await;
        }
        let ack = PendingAck::new(message, origin);
        match (claims, comes_again) {
            (Claims::Settled, None) => ack.ack().await,
            (Claims::Settled, Some(pause)) | (Claims::Again(pause), _) => {
                ack.give_back(Some(pause)).await;
            }
            (Claims::NoSlot | Claims::Unreadable, _) => ack.give_back(None).await,
        }
    }

    /// Claims as many as there are slots for, `slot` being the first of them.
    async fn claim_all(
        &self,
        mut announcements: Vec<Envelope<JobCreated>>,
        slot: OwnedSemaphorePermit,
    ) -> Claims {
        let (mut slots, mut claims) = (vec![slot], Claims::Settled);
        while !announcements.is_empty() {
            while slots.len() < announcements.len() {
                let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
                slots.push(slot);
            }
            if slots.is_empty() {
                return Claims::NoSlot;
            }
            let some = announcements.drain(..slots.len().min(announcements.len()));
            let claiming =
                some.zip(slots.drain(..)).map(|(announced, slot)| self.claim_with_time(announced, slot));
            for (claim, slot) in join_all(claiming.collect::<Vec<_>>()).await {
                claims = claims.and(claim);
                slots.extend(slot);
            }
        }
        claims
    }

    /// Claims one, and runs it; the slot comes back where it is not needed.
    async fn claim_with_time(
        &self,
        announced: Envelope<JobCreated>,
        slot: OwnedSemaphorePermit,
    ) -> (Claims, Option<OwnedSemaphorePermit>) {
        if self.is_stale(&announced) {
            return (Claims::Settled, Some(slot));
        }
        let run_id = announced.data.run_id();
        let span = ClaimSpan::begin(&announced);
        failpoint("job.fetch.fetched");
        let Some(guard) = self.claimer.guard(run_id) else {
            return (Claims::Again(retry_after()), Some(slot));
        };
        let announced_at = announced.time;
        let kind = announced.data.kind.clone();
        let place = match self.place(&kind, &announced.data.queue, slot).await {
            Ok(Some(place)) => place,
            Ok(None) => return (Claims::NoSlot, None),
            Err(error) => {
                warn!(target: "job", { job.id = %run_id.job, run = run_id.run, error = chain(&error) }, "not known whether it may wait; to be tried again");
                return (Claims::Again(retry_after()), None);
            }
        };
        let announced = Announced {
            created: announced.data,
            trace: announced.traceparent,
            span: span.as_ref().map(ClaimSpan::context),
            late_ack: false,
            waits: place.is_waiting(),
        };
        let claimed = self.claimer.claim(announced).await;
        if let Some(span) = span {
            span.end(claimed.as_ref().err().map(|error| chain(error)));
        }
        if let Ok(claimed) = &claimed {
            self.count_wait(claimed, announced_at);
            failpoint("job.claim.stored");
        }
        let slot = if claimed.is_ok() { self.taken(place, &kind) } else { None };
        let back = |slot: Option<Slot>| slot.and_then(Slot::into_general);
        match claimed {
            Ok(Claimed::Settled(_)) => (Claims::Settled, back(slot)),
            Ok(Claimed::Unreadable(_)) => (Claims::Unreadable, back(slot)),
            Ok(Claimed::Later(_, rest)) => (Claims::Again(rest), back(slot)),
            Ok(Claimed::Mine(run)) => {
                // Another message may have to bring it on; by the end of its lease, that or the ledger knows more.
                let lease = self.executor.ledger.lease();
                let claims =
                    if run.is_recovered_by_redelivery() { Claims::Again(lease) } else { Claims::Settled };
                let executor = self.executor.clone();
                if let Some(slot) = slot {
                    self.tasks
                        .spawn(async move { executor.run(*run, slot, guard, RecoveredBy::DueScan).await });
                }
                (claims, None)
            }
            Ok(Claimed::Ended(run)) => {
                metrics::run_ended(&run);
                (self.announce_with_mark(*run).await, back(slot))
            }
            Err(error) => {
                warn!(target: "job", { job.id = %run_id.job, run = run_id.run, error = chain(&error) }, "not claimed; to be tried again");
                (Claims::Again(retry_after()), back(slot))
            }
        }
    }

    /// Announces an end, which has an outbox mark from here on.
    async fn announce_with_mark(&self, run: Run) -> Claims {
        if run.is_recovered_by_redelivery()
            && let Err(error) = self.executor.ledger.leave_to_scan(run.ended_run()).await
        {
            warn!(run.id = %run.id, error = chain(&error), "not marked; to be tried again");
            return Claims::Again(retry_after());
        }
        self.executor.announce(run, RecoveredBy::DueScan).await;
        Claims::Settled
    }
}

impl TakeUp for Worker {
    const STREAMS: &'static [&'static str] = &[streams::JOBS];

    /// Waits for a slot as the stream does.
    async fn take_up(&self, letter: &DeadLetter) -> Result<TakenUp, StoreError> {
        let Ok(bodies) = batch::events(&letter.body.bytes) else { return Ok(TakenUp::Left) };
        let announcements: Result<Vec<_>, _> = bodies.into_iter().map(JobCreated::decode).collect();
        let Ok(announcements) = announcements else { return Ok(TakenUp::Left) };
        let is_served = |announced: &Envelope<JobCreated>| self.queues.contains(&announced.data.queue);
        if !announcements.iter().all(is_served) {
            return Ok(TakenUp::Left);
        }
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return Ok(TakenUp::NotNow) };
        let _taking = self.gate.enter();
        if !self.gate.is_open() {
            return Ok(TakenUp::NotNow);
        }
        Ok(match self.claim_all(announcements, slot).await {
            Claims::Settled => TakenUp::Done,
            Claims::Unreadable => TakenUp::Left,
            Claims::Again(_) | Claims::NoSlot => TakenUp::NotNow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_again_as_soon_as_any_of_its_members_needs_it() {
        let again = |seconds| Claims::Again(Duration::from_secs(seconds));
        let table = [
            (Claims::Settled, Claims::Settled, Claims::Settled),
            (Claims::Settled, again(3), again(3)),
            (Claims::Settled, Claims::Unreadable, Claims::Unreadable),
            (Claims::Unreadable, again(3), again(3)),
            (again(2), again(3), again(2)),
            (again(2), Claims::NoSlot, Claims::NoSlot),
        ];
        for (one, other, both) in table {
            assert_eq!((one.and(other), other.and(one)), (both, both), "{one:?} and {other:?}");
        }
    }
}
