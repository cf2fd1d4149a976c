//! Reads `JOB_CONTROL` into the ledger: the clients' wishes to cancel. Any worker of any queue may
//! take one; the handler is stopped where it runs by a broadcast, and by its next renewal at the latest.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{Message, consumer::pull};
use bytes::Bytes;
use futures::StreamExt;
use service_kit::{
    StoreError,
    dead_letters::{DeadLetter, Reason, TakeUp, TakenUp},
    faults::gap,
    messages::{MessageReader, Origin, Sorted},
    telemetry::chain,
};
use shared_events::{
    Broker, DecodeError, JobCancel, RunId, batch,
    consume::{self, Reader, Taken},
    streams, subjects,
    unreadable::Decision,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    claim::UNREADABLE_RUN,
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
    /// How messages are read.
    pub messages: Arc<MessageReader>,
}

impl Reader for Control {
    const STREAM: &'static str = streams::JOB_CONTROL;
    /// The runs of a batch are loaded whole, a MiB and a half each at most.
    const BATCH: usize = 32;
    const ENOUGH: usize = 1;
    const AHEAD: usize = 200;

    async fn definition(&self) -> Result<pull::Config, async_nats::Error> {
        Ok(streams::control_consumer())
    }

    /// Has a batch decided by the ledger, however long the database is away.
    async fn take(&self, messages: &[Message]) -> Taken {
        let sorted = self.messages.sort(messages, decode);
        gap("job.control.read");
        let mut pause = Duration::from_millis(100);
        let (cancels, given_back) = loop {
            match self.decide(messages, &sorted).await {
                Ok(decided) => break decided,
                Err(error) => {
                    warn!(
                        error = chain(&error),
                        cancels = sorted.events.len(),
                        "cancels not recorded yet; trying again"
                    );
                }
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        };
        gap("job.control.recorded");
        self.carry_out(cancels).await;
        Taken { grow_until: Instant::now(), given_back }
    }
}

fn decode(body: &[u8]) -> Result<CancelWanted, DecodeError> {
    let event = JobCancel::decode(body)?;
    Ok(CancelWanted { cancel: event.data, trace: event.traceparent })
}

impl Control {
    /// Reads until told to stop, once it is known whose leases have ended.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.ledger.mongo().clock().learnt() => {}
        }
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

    /// What the ledger makes of the cancels; and which messages are to come again, since a newer version has to do
    /// what they ask for.
    async fn decide(
        &self,
        messages: &[Message],
        sorted: &Sorted<CancelWanted>,
    ) -> Result<(Cancels, Vec<(usize, Duration)>), StoreError> {
        let mongo = self.ledger.mongo();
        mongo.set_aside(&sorted.set_aside).await?;
        let mut given_back = sorted.given_back.clone();
        if sorted.events.is_empty() {
            return Ok((Cancels::default(), given_back));
        }
        let cancels = self.ledger.cancel(sorted.events.clone()).await?;
        let mut letters = Vec::new();
        for (wanted, Origin { message, member }) in sorted.events.iter().zip(&sorted.origins) {
            if !cancels.unreadable.contains(&wanted.cancel.run_id()) {
                continue;
            }
            match self.messages.decide(&messages[*message], &UNREADABLE_RUN) {
                Decision::GiveBack(pause) => given_back.push((*message, pause)),
                Decision::SetAside => {
                    let (message, reason) = (&messages[*message], Reason::NewerVersion);
                    letters.push(self.messages.letter(message, Some(*member), reason, &UNREADABLE_RUN));
                }
            }
        }
        mongo.set_aside(&letters).await?;
        Ok((cancels, given_back))
    }

    /// Stops the handlers of what runs, and announces what has ended.
    async fn carry_out(&self, cancels: Cancels) {
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
    }
}

impl TakeUp for Control {
    const STREAMS: &'static [&'static str] = &[streams::JOB_CONTROL];

    async fn take_up(&self, letter: &DeadLetter) -> Result<TakenUp, StoreError> {
        let Ok(bodies) = batch::events(&letter.body.bytes) else { return Ok(TakenUp::Left) };
        let wanted: Result<Vec<CancelWanted>, DecodeError> = bodies.into_iter().map(decode).collect();
        let Ok(wanted) = wanted else { return Ok(TakenUp::Left) };
        let cancels = self.ledger.cancel(wanted).await?;
        let taken_up = if cancels.unreadable.is_empty() { TakenUp::Done } else { TakenUp::Left };
        self.carry_out(cancels).await;
        Ok(taken_up)
    }
}
