//! From the slot to the ledger: an announcement is claimed, then run; it is acked as soon as it need not carry its run.

use std::time::Duration;

use async_nats::jetstream::Message;
use service_kit::{dead_letters::Reason, faults::gap, telemetry::chain};
use shared_events::{Envelope, JobCreated, RunId, Timestamp, batch, streams, unreadable::Decision};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use crate::{
    carrier::Carrier,
    chronicle::Deed,
    fetch::Fetcher,
    held::Claiming,
    ledger::{Announced, Claimed},
    origin::Origin,
};

/// Why a message that can be read is not acted on, nor lost.
pub(crate) const UNREADABLE_RUN: &str = "about a run whose document this version can not read";

impl Fetcher {
    /// Claims and runs, in a task of its own; without a slot the announcement is given back.
    pub(crate) fn attend(&self, message: Message, origin: Origin, slot: Option<OwnedSemaphorePermit>) {
        let fetcher = self.clone();
        self.tasks.spawn(async move {
            let Some(slot) = slot else { return Carrier::new(message, origin).give_back(None).await };
            fetcher.claim(message, origin, slot).await;
        });
    }

    async fn claim(&self, message: Message, origin: Origin, slot: OwnedSemaphorePermit) {
        let mut sorted = self.messages.sort(std::slice::from_ref(&message), JobCreated::decode);
        if let Err(error) = self.runner.ledger.mongo().set_aside(&sorted.set_aside).await {
            warn!(error = chain(&error), "message can not be set aside now; given back");
            return Carrier::new(message, origin).give_back(Some(retry_after())).await;
        }
        let comes_again = sorted.given_back.first().map(|(_, pause)| *pause);
        if batch::is_batch(&message.payload) {
            return self.claim_batch(sorted.events, comes_again, message, origin, slot).await;
        }
        match (sorted.events.pop(), comes_again) {
            (Some(announced), _) => self.claim_one(announced, message, origin, slot).await,
            (None, Some(pause)) => Carrier::new(message, origin).give_back(Some(pause)).await,
            (None, None) => Carrier::new(message, origin).ack().await,
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
            return Carrier::new(message, origin).ack().await;
        }
        let run_id = announced.data.run_id();
        gap("job.fetch.fetched");
        self.note_redelivery(&message, run_id);
        let Some(claiming) = self.runner.held.claiming(run_id) else {
            // It came a second time while the first is being decided: in a moment the ledger knows.
            return Carrier::new(message, origin).give_back(Some(retry_after())).await;
        };
        let announced = Announced { created: announced.data, trace: announced.traceparent, late_ack: true };
        let claimed = self.runner.ledger.claim(announced).await;
        if claimed.is_ok() {
            gap("job.claim.stored");
        }
        if let Ok(Claimed::Unreadable(_)) = claimed {
            return self.leave_to_newer(message, origin).await;
        }
        let carrier = Carrier::new(message, origin);
        match claimed {
            Ok(Claimed::Carried(_, rest)) => carrier.give_back(Some(rest)).await,
            Ok(claimed) if claimed.is_carried() => self.go_on(claimed, slot, claiming, Some(carrier)).await,
            Ok(claimed) => {
                carrier.ack().await;
                self.go_on(claimed, slot, claiming, None).await;
            }
            Err(error) => {
                warn!(target: "job", { job.id = %run_id.job, run = run_id.run, error = chain(&error) }, "not claimed; announcement given back");
                carrier.give_back(Some(retry_after())).await;
            }
        }
    }

    /// What the message is about, a newer worker has to decide.
    pub(crate) async fn leave_to_newer(&self, message: Message, origin: Origin) {
        let pause = match self.messages.decide(&message, &UNREADABLE_RUN) {
            Decision::GiveBack(pause) => pause,
            Decision::SetAside => {
                // All of it: what is done already changes nothing when it is taken up.
                let letter = self.messages.letter(&message, None, Reason::NewerVersion, &UNREADABLE_RUN);
                match self.runner.ledger.mongo().set_aside(&[letter]).await {
                    Ok(()) => return Carrier::new(message, origin).ack().await,
                    Err(_) => retry_after(),
                }
            }
        };
        Carrier::new(message, origin).give_back(Some(pause)).await;
    }

    /// Whether the ledger's memory of the run may be gone by now.
    pub(crate) fn is_stale(&self, announced: &Envelope<JobCreated>) -> bool {
        let now = Timestamp::from_millis(self.runner.ledger.mongo().clock().now_ms());
        let is_stale = now.since(announced.time) > streams::STALE_AFTER;
        if is_stale {
            info!(run.id = %announced.data.run_id(), "announcement is stale; the reconciler makes a fresh one");
        }
        is_stale
    }

    fn note_redelivery(&self, message: &Message, run: RunId) {
        let chronicle = &self.runner.chronicle;
        if chronicle.is_on() && message.info().is_ok_and(|info| info.delivered > 1) {
            chronicle.note(Deed::Redelivered, run, 0);
        }
    }

    /// Does what a claim asks for; `carrier` is the announcement, where that carries the run.
    pub async fn go_on(
        &self,
        claimed: Claimed,
        slot: OwnedSemaphorePermit,
        claiming: Claiming,
        carrier: Option<Carrier>,
    ) {
        match claimed {
            Claimed::Mine(run) => self.runner.run(*run, slot, claiming, carrier).await,
            Claimed::Ended(run) => self.runner.relay.announce_soon(*run, carrier).await,
            Claimed::Carried(..) | Claimed::Settled(_) | Claimed::Unreadable(_) => {}
        }
    }
}

pub(crate) fn retry_after() -> Duration {
    Duration::from_millis(rand::random_range(1000..3000))
}
