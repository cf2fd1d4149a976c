//! From the stream to the slots: a slot is taken first, then a message is fetched for it, so nothing
//! is fetched that can not run at once.
//!
//! Under load: pulls that do not wait, in order of priority. Idle: one waiting pull of one message
//! for each consumer; a message that finds no slot is given back unclaimed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{
    AckKind, Message,
    consumer::{PullConsumer, pull},
};
use futures::StreamExt;
use service_kit::{faults::gap, telemetry::chain};
use shared_events::{Broker, JobCreated, Priority, Queue, RunId, Timestamp, streams};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    attempt::Runner,
    chronicle::Deed,
    ledger::{Announced, Claimed},
};

/// The most messages of one pull.
const BATCH: usize = 256;

/// How long a pull that does not wait may take to answer.
const PULL_DEADLINE: Duration = Duration::from_secs(5);

/// How long a waiting pull stays at the server.
const WAIT: Duration = Duration::from_secs(30);

/// Fetches announcements and has them attended to.
#[derive(Clone)]
pub struct Fetcher {
    /// The broker.
    pub broker: Broker,
    /// Who runs what is claimed.
    pub runner: Runner,
    /// One permit for each attempt that may run.
    pub slots: Arc<Semaphore>,
    /// What is being attended to.
    pub tasks: TaskTracker,
}

/// The consumers of one pass over the stream, most urgent first.
struct Source {
    consumer: PullConsumer,
    waiting: Arc<AtomicBool>,
}

impl Fetcher {
    /// Fetches until told to stop; makes the consumers anew whenever one does not answer as it should.
    pub async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let sources = tokio::select! {
                () = stop.cancelled() => return,
                sources = self.sources() => sources,
            };
            match sources {
                Ok(sources) => {
                    let waits = stop.child_token();
                    self.fetch_from(&sources, stop, &waits).await;
                    waits.cancel();
                }
                Err(error) => debug!(error = chain(error.as_ref()), "no consumers yet"),
            }
            let jitter = Duration::from_millis(rand::random_range(50..500));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jitter) => {}
            }
        }
    }

    /// Returns when stopped, or when a consumer is to be made anew.
    async fn fetch_from(&self, sources: &[Source], stop: &CancellationToken, waits: &CancellationToken) {
        let woken = Arc::new(Notify::new());
        let mut connects = self.broker.nats().connects();
        connects.mark_unchanged();
        loop {
            if self.database_is_away(stop).await {
                continue;
            }
            let mut slots = tokio::select! {
                () = stop.cancelled() => return,
                slots = self.free_slots() => slots,
            };
            let before = slots.len();
            for source in sources {
                if slots.is_empty() {
                    break;
                }
                match pull_now(&source.consumer, slots.len()).await {
                    Ok(messages) => {
                        for message in messages {
                            self.attend(message, slots.pop().filter(|_| !stop.is_cancelled()));
                        }
                    }
                    Err(error) => {
                        warn!(error = chain(error.as_ref()), "pull failed; looking for the consumers again");
                        self.broker.suspect_missing();
                        return;
                    }
                }
            }
            if slots.len() < before {
                continue;
            }
            drop(slots);
            for source in sources {
                self.wait_for_one(source, &woken, waits);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = woken.notified() => {}
                _ = connects.changed() => return,
                () = tokio::time::sleep(WAIT) => {}
            }
        }
    }

    /// Waits a little where the database has just failed to answer: what can not be claimed is not fetched.
    async fn database_is_away(&self, stop: &CancellationToken) -> bool {
        let pause = Duration::from_secs(1);
        if self.runner.ledger.mongo().since_failure().is_none_or(|since| since >= pause) {
            return false;
        }
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// At least one slot, and what else is free.
    async fn free_slots(&self) -> Vec<OwnedSemaphorePermit> {
        let Ok(first) = Arc::clone(&self.slots).acquire_owned().await else {
            return std::future::pending().await;
        };
        let mut slots = vec![first];
        while slots.len() < BATCH {
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            slots.push(slot);
        }
        slots
    }

    /// Leaves a waiting pull with the server, unless one is there already.
    fn wait_for_one(&self, source: &Source, woken: &Arc<Notify>, waits: &CancellationToken) {
        if source.waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (fetcher, consumer, waiting) =
            (self.clone(), source.consumer.clone(), Arc::clone(&source.waiting));
        let (woken, waits) = (Arc::clone(woken), waits.clone());
        tokio::spawn(async move {
            let one = tokio::select! {
                biased;
                one = pull_one(&consumer) => one,
                () = waits.cancelled() => return,
            };
            waiting.store(false, Ordering::Release);
            match one {
                Ok(Some(message)) => match Arc::clone(&fetcher.slots).try_acquire_owned() {
                    Ok(slot) if !waits.is_cancelled() => fetcher.attend(message, Some(slot)),
                    Ok(_) | Err(_) => give_back(&message, None).await,
                },
                Ok(None) => {}
                // The next pull that does not wait says what is wrong.
                Err(error) => debug!(error = chain(error.as_ref()), "waiting pull ended"),
            }
            woken.notify_one();
        });
    }

    /// Claims, acks and runs, in a task of its own.
    fn attend(&self, message: Message, slot: Option<OwnedSemaphorePermit>) {
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
        let announced = Announced { created: announced.data, trace: announced.traceparent };
        match self.runner.ledger.claim(announced).await {
            Ok(claimed) => {
                gap("job.claim.stored");
                ack(&message).await;
                gap("job.claim.acked");
                self.go_on(claimed, slot).await;
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
    pub async fn go_on(&self, claimed: Claimed, slot: OwnedSemaphorePermit) {
        match claimed {
            Claimed::Mine(run) => self.runner.run(*run, slot).await,
            Claimed::Ended(run) => self.runner.relay.announce_soon(*run),
            Claimed::Settled => {}
        }
    }

    async fn sources(&self) -> anyhow::Result<Vec<Source>> {
        let mut sources = Vec::new();
        for priority in Priority::ALL {
            for queue in &self.runner.settings.queues {
                let consumer = self.consumer(queue, priority).await?;
                sources.push(Source { consumer, waiting: Arc::default() });
            }
        }
        Ok(sources)
    }

    async fn consumer(&self, queue: &Queue, priority: Priority) -> anyhow::Result<PullConsumer> {
        let definition = streams::worker_consumer(queue, priority, self.runner.settings.lease);
        Ok(streams::consumer::<pull::Config>(self.broker.jetstream(), streams::JOBS, definition).await?)
    }
}

/// Up to `most` messages that are there.
async fn pull_now(consumer: &PullConsumer, most: usize) -> anyhow::Result<Vec<Message>> {
    let mut batch = consumer.fetch().max_messages(most).messages().await?;
    let mut messages = Vec::new();
    loop {
        match tokio::time::timeout(PULL_DEADLINE, batch.next()).await {
            Ok(Some(Ok(message))) => messages.push(message),
            // What was delivered before the error still counts.
            Ok(Some(Err(_))) if !messages.is_empty() => return Ok(messages),
            Ok(Some(Err(error))) => anyhow::bail!(error),
            Ok(None) => return Ok(messages),
            Err(_) if !messages.is_empty() => return Ok(messages),
            Err(_) => anyhow::bail!("the server did not answer a pull within {PULL_DEADLINE:?}"),
        }
    }
}

/// The next message, however long it takes up to [`WAIT`].
async fn pull_one(consumer: &PullConsumer) -> anyhow::Result<Option<Message>> {
    let mut batch = consumer.batch().max_messages(1).expires(WAIT).messages().await?;
    match batch.next().await {
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(error)) => anyhow::bail!(error),
        None => Ok(None),
    }
}

/// The ledger is responsible: the broker may forget. Where the ack is lost, the announcement comes
/// again and finds the run known.
async fn ack(message: &Message) {
    if let Err(error) = message.ack().await {
        debug!(%error, "ack not sent");
    }
}

async fn give_back(message: &Message, delay: Option<Duration>) {
    if let Err(error) = message.ack_with(AckKind::Nak(delay)).await {
        debug!(%error, "message not given back; it comes again when its time is over");
    }
}

fn retry_after() -> Duration {
    Duration::from_millis(rand::random_range(1000..3000))
}
