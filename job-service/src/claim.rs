//! From the slot to the ledger: an announcement is claimed, then acked, then run.

use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use service_kit::{faults::gap, telemetry::chain};
use shared_events::{JobCreated, RunId, Timestamp, streams};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use crate::{
    chronicle::Deed,
    fetch::Fetcher,
    held::Claiming,
    ledger::{Announced, Claimed},
};

impl Fetcher {
    /// Claims, acks and runs, in a task of its own.
    pub(crate) fn attend(&self, message: Message, slot: Option<OwnedSemaphorePermit>) {
        let fetcher = self.clone();
        self.tasks.spawn(async move {
            let Some(slot) = slot else { return give_back(&message, None).await };
            fetcher.claim(message, slot).await;
        });
    }

    async fn claim(&self, message: Message, slot: OwnedSemaphorePermit) {
        let announced = match JobCreated::decode(&message.payload) {
            Ok(event) => event,
            Err(error) => {
                warn!(%error, subject = %message.subject, "announcement is not readable");
                return match self
                    .runner
                    .ledger
                    .put_aside(&message.subject, &message.payload, &error.to_string())
                    .await
                {
                    Ok(()) => ack(&message).await,
                    Err(_) => give_back(&message, Some(retry_after())).await,
                };
            }
        };
        let now = Timestamp::from_millis(self.runner.ledger.mongo().clock().now_ms());
        if now.since(announced.time) > streams::STALE_AFTER {
            info!(run.id = %announced.data.run_id(), "announcement is stale; the reconciler makes a fresh one");
            return ack(&message).await;
        }
        let run_id = announced.data.run_id();
        gap("job.fetch.fetched");
        self.note_redelivery(&message, run_id);
        let Some(claiming) = self.runner.held.claiming(run_id) else {
            // It came a second time while the first is being decided: in a moment the ledger knows.
            return give_back(&message, Some(retry_after())).await;
        };
        let announced = Announced { created: announced.data, trace: announced.traceparent };
        match self.runner.ledger.claim(announced).await {
            Ok(claimed) => {
                gap("job.claim.stored");
                ack(&message).await;
                gap("job.claim.acked");
                self.go_on(claimed, slot, claiming).await;
            }
            Err(error) => {
                warn!(target: "job", { job.id = %run_id.job, run = run_id.run, error = chain(&error) }, "not claimed; announcement given back");
                give_back(&message, Some(retry_after())).await;
            }
        }
    }

    fn note_redelivery(&self, message: &Message, run: RunId) {
        let chronicle = &self.runner.chronicle;
        if chronicle.is_on() && message.info().is_ok_and(|info| info.delivered > 1) {
            chronicle.note(Deed::Redelivered, run, 0);
        }
    }

    /// Does what a claim asks for.
    pub async fn go_on(&self, claimed: Claimed, slot: OwnedSemaphorePermit, claiming: Claiming) {
        match claimed {
            Claimed::Mine(run) => self.runner.run(*run, slot, claiming).await,
            Claimed::Ended(run) => self.runner.relay.announce_soon(*run).await,
            Claimed::Settled => {}
        }
    }
}

/// The ledger is responsible: the broker may forget. Where the ack is lost, the announcement comes
/// again and finds the run known.
async fn ack(message: &Message) {
    if let Err(error) = message.ack().await {
        debug!(%error, "ack not sent");
    }
}

pub(crate) async fn give_back(message: &Message, delay: Option<Duration>) {
    if let Err(error) = message.ack_with(AckKind::Nak(delay)).await {
        debug!(%error, "message not given back; it comes again when its time is over");
    }
}

fn retry_after() -> Duration {
    Duration::from_millis(rand::random_range(1000..3000))
}
