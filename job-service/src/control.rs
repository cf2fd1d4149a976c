//! Reads `JOB_CONTROL` into the ledger: the clients' wishes to cancel. Any worker of any queue may
//! take one; the handler is stopped where it runs by a broadcast, and by its next renewal at the latest.

use std::time::Duration;

use async_nats::jetstream::{Message, consumer::pull};
use bytes::Bytes;
use futures::StreamExt;
use service_kit::{StoreError, faults::gap, telemetry::chain};
use shared_events::{Broker, JobCancel, RunId, streams, subjects};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    held::{Held, Stop},
    ledger::{CancelWanted, Cancels, Ledger},
    relay::Relay,
};

/// The most wishes of one batch.
const BATCH: usize = 200;

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

impl Control {
    /// Reads until told to stop; makes the consumer anew whenever its stream ends or breaks.
    pub async fn run(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                read = self.read() => if let Err(error) = read {
                    debug!(error = chain(error.as_ref()), "no cancels yet");
                }
            }
            self.broker.suspect_missing();
            let jitter = Duration::from_millis(rand::random_range(100..600));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jitter) => {}
            }
        }
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

    async fn read(&self) -> anyhow::Result<()> {
        let definition = streams::control_consumer();
        let consumer =
            streams::consumer::<pull::Config>(self.broker.jetstream(), streams::JOB_CONTROL, definition)
                .await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .expires(Duration::from_secs(30))
            .heartbeat(Duration::from_secs(5))
            .messages()
            .await?;
        let mut batches = messages.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let (mut messages, mut broken) = (Vec::with_capacity(batch.len()), None);
            for message in batch {
                match message {
                    Ok(message) => messages.push(message),
                    Err(error) => broken = Some(error),
                }
            }
            self.take(messages).await;
            if let Some(error) = broken {
                anyhow::bail!(error);
            }
        }
        Ok(())
    }

    /// Has a batch decided by the ledger, however long the database is away, then acks it.
    async fn take(&self, messages: Vec<Message>) {
        gap("job.control.read");
        let mut pause = Duration::from_millis(100);
        let cancels = loop {
            match self.decide(&messages).await {
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
        cancels.stop.iter().for_each(|run| self.held.stop(run, Stop::Requested));
        if !cancels.stop.is_empty()
            && let Ok(body) = serde_json::to_vec(&cancels.stop)
        {
            self.broker.tell(subjects::STOP, Bytes::from(body)).await;
        }
        gap("job.control.told");
        cancels.ended.into_iter().for_each(|run| self.relay.announce_soon(run));
        for message in &messages {
            if let Err(error) = message.ack().await {
                debug!(%error, "ack not sent; the cancel comes again and changes nothing");
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
