//! Reads `JOB_CONTROL` into the ledger: the clients' requests to cancel. Any worker of any queue may
//! take one; the handler is stopped where it runs by a broadcast, and by its next renewal at the latest.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::Message;
use bytes::Bytes;
use futures::StreamExt;
use service_kit::{
    Broker, StoreError,
    batch::BatchLimits,
    dead_letters::{DeadLetter, Decision, Reason, TakeUp, TakenUp},
    failpoints::failpoint,
    nats::{
        consume::{self, BATCH_BYTES, Consumer, Handled},
        messages::{MessageReader, Origin},
    },
    retry::Backoff,
    telemetry::{
        chain,
        traces::{Group, KeyValue},
    },
};
use shared_events::{
    DecodeError, JobCancel, batch,
    broadcasts::Stop,
    streams::{self, ConsumerDefinition},
    subjects,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    history::History,
    ledger::{CancelRequest, Cancels, Ledger},
    metrics,
    outbox::Relay,
    traces::{PROCESS_CANCEL, of_id},
    worker::{ActiveRuns, StopReason, UNREADABLE_RUN},
};

/// The most cancels that the ledger is asked for at once: it loads their runs whole, a MiB and a half each at most.
const AT_ONCE: usize = 32;

/// See the module.
#[derive(Clone)]
pub struct Control {
    /// The broker.
    pub broker: Broker,
    /// Who decides.
    pub ledger: Ledger,
    /// What runs here.
    pub active: ActiveRuns,
    /// Who announces.
    pub relay: Relay,
    /// How messages are read.
    pub messages: Arc<MessageReader>,
    /// What is kept of all this for those who check.
    pub history: History,
}

impl Consumer for Control {
    const BATCH: BatchLimits = BatchLimits { items: AT_ONCE, bytes: BATCH_BYTES, enough: 1 };
    const AHEAD: usize = 200;

    async fn definition(&self) -> Result<ConsumerDefinition, async_nats::Error> {
        Ok(streams::control_consumer())
    }

    /// Has a batch decided by the ledger, however long the database is away.
    async fn handle(&self, messages: &[Message]) -> Handled {
        let sorted = self.messages.sort(messages, decode);
        failpoint("job.control.read");
        self.insist(|| self.ledger.mongo().keep_dead_letters(&sorted.dead_letters)).await;
        let mut given_back = sorted.given_back.clone();
        // A message may hold many.
        let pairs: Vec<(&CancelRequest, Origin)> =
            sorted.events.iter().zip(sorted.origins.iter().copied()).collect();
        for some in pairs.chunks(AT_ONCE) {
            metrics::cancels(some.len());
            let requests: Vec<CancelRequest> = some.iter().map(|(request, _)| (*request).clone()).collect();
            let spans = Group::begin(requests.iter().map(|request| request.trace));
            let cancels = self.insist(|| self.ledger.cancel(requests.clone())).await;
            if let Some(spans) = spans {
                spans.end(&PROCESS_CANCEL, |place, span| {
                    let cancel = &requests[place].cancel;
                    span.with(of_id(cancel.run_id()))
                        .with([KeyValue::new("job.kind", cancel.kind.to_string())])
                });
            }
            failpoint("job.control.recorded");
            given_back.extend(self.leave_to_newer(messages, some, &cancels).await);
            self.carry_out(cancels).await;
        }
        Handled { grow_until: Instant::now(), given_back }
    }
}

fn decode(body: &[u8]) -> Result<CancelRequest, DecodeError> {
    let event = JobCancel::decode(body)?;
    Ok(CancelRequest { cancel: event.data, trace: event.traceparent })
}

impl Control {
    /// Reads until told to stop, once it is known whose leases have ended.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.ledger.mongo().clock().learnt() => {}
        }
        consume::run(&self.broker, self, stop).await;
    }

    /// Takes up dead letters that this version can read, once it is known whose leases have ended, until told to stop.
    pub async fn take_up_dead_letters(&self, wait: Duration, stop: &CancellationToken) {
        let mongo = self.ledger.mongo();
        if stop.run_until_cancelled(mongo.clock().learnt()).await.is_some() {
            mongo.take_up_dead_letters(self, wait, stop).await;
        }
    }

    /// Stops handlers by other workers' broadcasts, until told to stop itself.
    pub async fn subscribe_stops(&self, stop: &CancellationToken) {
        let mut broadcasts = match self.broker.nats().client().subscribe(subjects::STOP).await {
            Ok(broadcasts) => broadcasts,
            Err(error) => {
                return warn!(%error, "could not subscribe to other workers' broadcasts; cancels wait for renewals");
            }
        };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = broadcasts.next() => message,
            };
            let Some(message) = message else { return };
            match serde_json::from_slice::<Stop>(&message.payload) {
                Ok(Stop(runs)) => runs.iter().for_each(|run| self.active.stop(run, StopReason::Requested)),
                Err(error) => debug!(%error, "another worker's broadcast is not readable"),
            }
        }
    }

    /// Does something however long the database is away.
    async fn insist<T, F: Future<Output = Result<T, StoreError>>>(&self, act: impl Fn() -> F) -> T {
        let mut backoff = Backoff::default();
        loop {
            match act().await {
                Ok(done) => return done,
                Err(error) => warn!(error = chain(&error), "cancels not recorded yet; trying again"),
            }
            backoff.pause().await;
        }
    }

    /// Which messages are to come again, since a newer version has to do what they ask for.
    async fn leave_to_newer(
        &self,
        messages: &[Message],
        requests: &[(&CancelRequest, Origin)],
        cancels: &Cancels,
    ) -> Vec<(usize, Duration)> {
        let (mut given_back, mut letters) = (Vec::new(), Vec::new());
        let unreadable =
            requests.iter().filter(|(request, _)| cancels.unreadable.contains(&request.cancel.run_id()));
        for (_, Origin { message, member }) in unreadable {
            match self.messages.decide(&messages[*message], &UNREADABLE_RUN) {
                Decision::GiveBack(pause) => given_back.push((*message, pause)),
                Decision::DeadLetter => {
                    let (message, reason) = (&messages[*message], Reason::NewerVersion);
                    letters.push(self.messages.letter(message, Some(*member), reason, &UNREADABLE_RUN));
                }
            }
        }
        self.insist(|| self.ledger.mongo().keep_dead_letters(&letters)).await;
        given_back
    }

    /// Stops the handlers of what runs, and announces what has ended.
    async fn carry_out(&self, cancels: Cancels) {
        cancels.closed.iter().for_each(metrics::run_ended);
        self.history.add_cancels(&cancels);
        let stop = Stop(cancels.stop.iter().map(|run| run.id).collect());
        stop.0.iter().for_each(|run| self.active.stop(run, StopReason::Requested));
        if !stop.0.is_empty()
            && let Ok(body) = serde_json::to_vec(&stop)
        {
            self.broker.broadcast(subjects::STOP, Bytes::from(body)).await;
        }
        failpoint("job.control.broadcast");
        for run in cancels.closed.into_iter().chain(cancels.ended) {
            self.relay.announce_soon(run, |_| async {}).await;
        }
    }
}

impl TakeUp for Control {
    const STREAMS: &'static [&'static str] = &[streams::JOB_CONTROL];

    async fn take_up(&self, letter: &DeadLetter) -> Result<TakenUp, StoreError> {
        let Ok(bodies) = batch::events(&letter.body.bytes) else { return Ok(TakenUp::Left) };
        let requests: Result<Vec<CancelRequest>, DecodeError> = bodies.into_iter().map(decode).collect();
        let Ok(requests) = requests else { return Ok(TakenUp::Left) };
        let mut taken_up = TakenUp::Done;
        for some in requests.chunks(AT_ONCE) {
            let cancels = self.ledger.cancel(some.to_vec()).await?;
            if !cancels.unreadable.is_empty() {
                taken_up = TakenUp::Left;
            }
            self.carry_out(cancels).await;
        }
        Ok(taken_up)
    }
}
