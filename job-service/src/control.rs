//! Reads `JOB_CONTROL` into the ledger: the clients' wishes to cancel. Any worker of any queue may
//! take one; the handler is stopped where it runs by a broadcast, and by its next renewal at the latest.

use std::time::Duration;

use async_nats::jetstream::{Message, consumer::pull};
use bytes::Bytes;
use futures::StreamExt;
use service_kit::{StoreError, faults::gap, telemetry::chain};
use shared_events::{
    Broker, JobCancel, RunId,
    consume::{self, Reader},
    streams, subjects,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    held::{Held, Stop},
    ledger::{CancelWanted, Cancels, Ledger},
    relay::Relay,
};

/// See the module.
#[derive(Clone)]
pub struct Control {
    /// The broker.
    pub broker: Broker,
    /// Who decides.
    pub ledger: Ledger,
    /// What runs here.
    pub held: Held,
    /// Who announces.
    pub relay: Relay,
}

impl Reader for Control {
    const STREAM: &'static str = streams::JOB_CONTROL;
    const BATCH: usize = 200;
    const ENOUGH: usize = 1;
    const AHEAD: usize = 200;

    async fn definition(&self) -> Result<pull::Config, async_nats::Error> {
        Ok(streams::control_consumer())
    }

    /// Has a batch decided by the ledger, however long the database is away.
    async fn take(&self, messages: &[Message]) -> Instant {
        gap("job.control.read");
        let mut pause = Duration::from_millis(100);
        let cancels = loop {
            match self.decide(messages).await {
                Ok(cancels) => break cancels,
                Err(error) => {
                    warn!(
                        error = chain(&error),
                        cancels = messages.len(),
                        "cancels not recorded yet; trying again"
                    );
                }
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        };
        gap("job.control.recorded");
        let stop: Vec<RunId> = cancels.stop.iter().map(|run| run.id).collect();
        stop.iter().for_each(|run| self.held.stop(run, Stop::Requested));
        if !stop.is_empty()
            && let Ok(body) = serde_json::to_vec(&stop)
        {
            self.broker.tell(subjects::STOP, Bytes::from(body)).await;
        }
        gap("job.control.told");
        for run in cancels.ended {
            self.relay.announce_soon(run, None).await;
        }
        Instant::now()
    }
}

impl Control {
    /// Reads until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        consume::read(&self.broker, self, stop).await;
    }

    /// Stops handlers that another worker was told to stop, until told to stop itself.
    pub async fn hear_stops(&self, stop: &CancellationToken) {
        let mut told = match self.broker.nats().client().subscribe(subjects::STOP).await {
            Ok(told) => told,
            Err(error) => return warn!(%error, "does not hear other workers; cancels wait for renewals"),
        };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = told.next() => message,
            };
            let Some(message) = message else { return };
            match serde_json::from_slice::<Vec<RunId>>(&message.payload) {
                Ok(runs) => runs.iter().for_each(|run| self.held.stop(run, Stop::Requested)),
                Err(error) => debug!(%error, "another worker's broadcast is not readable"),
            }
        }
    }

    async fn decide(&self, messages: &[Message]) -> Result<Cancels, StoreError> {
        let mut wanted = Vec::with_capacity(messages.len());
        for message in messages {
            match JobCancel::decode(&message.payload) {
                Ok(event) => wanted.push(CancelWanted { cancel: event.data, trace: event.traceparent }),
                Err(error) => {
                    warn!(%error, subject = %message.subject, "cancel is not readable; put aside");
                    self.ledger.put_aside(&message.subject, &message.payload, &error.to_string()).await?;
                }
            }
        }
        if wanted.is_empty() { Ok(Cancels::default()) } else { self.ledger.cancel(wanted).await }
    }
}
