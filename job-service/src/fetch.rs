//! From the stream to the slots: a slot is taken first, then a message is fetched for it, so nothing
//! is fetched that can not run at once.
//!
//! Under load: pulls that do not wait, in order of priority. Else a waiting pull of a few messages
//! for each consumer; a message that finds no slot is given back unclaimed, and the load is on.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    Message,
    consumer::{PullConsumer, pull::Config},
};
use service_kit::{messages::MessageReader, telemetry::chain};
use shared_events::{Broker, Priority, Queue, connect::Connection, streams};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    attempt::Runner,
    carrier::{self, Carrier},
    pull::{self, Waiting},
};

/// The most messages of one pull that does not wait.
const BATCH: usize = 256;

/// The most messages of one waiting pull; a quarter of the slots where that is less.
const WAITING: usize = 32;

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
    /// How messages are read.
    pub messages: Arc<MessageReader>,
}

impl Fetcher {
    /// Fetches until told to stop; makes the consumers anew whenever one does not answer as it should.
    pub async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.fetch(stop).await {
                debug!(
                    error = chain(error.as_ref()),
                    "fetching is interrupted; looking for the consumers again"
                );
                self.broker.suspect_missing();
            }
            let jitter = Duration::from_millis(rand::random_range(50..500));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jitter) => {}
            }
        }
    }

    /// Returns when stopped, or when the consumers are to be made anew.
    async fn fetch(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let (mut connects, connection) = (self.broker.nats().connects(), self.broker.nats().connection());
        connects.mark_unchanged();
        let consumers = self.consumers().await?;
        let (waits, load) = (stop.child_token(), Arc::new(Load::default()));
        let mut waiting = JoinSet::new();
        for consumer in &consumers {
            let (fetcher, consumer) = (self.clone(), consumer.clone());
            let (load, waits) = (Arc::clone(&load), waits.clone());
            waiting.spawn(async move { fetcher.wait_on(consumer, connection, &load, &waits).await });
        }
        let done = loop {
            load.is_on.send_replace(true);
            if let Err(error) = self.work_off(&consumers, connection, stop).await {
                break Err(error);
            }
            load.is_on.send_replace(false);
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = load.no_slot.notified() => {}
                _ = connects.changed() => break Ok(()),
                Some(ended) = waiting.join_next() => break ended.unwrap_or_else(|error| Err(error.into())),
            }
        };
        waits.cancel();
        // They give back what was on its way.
        while waiting.join_next().await.is_some() {}
        done
    }

    /// Takes what is there, in order of priority, until nothing is.
    async fn work_off(
        &self,
        consumers: &[PullConsumer],
        connection: Connection,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            if self.database_is_away(stop).await {
                continue;
            }
            let mut slots = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                slots = self.free_slots(BATCH) => slots,
            };
            let before = slots.len();
            for consumer in consumers {
                if slots.is_empty() {
                    break;
                }
                for message in pull::now(consumer, slots.len()).await? {
                    let slot = slots.pop().filter(|_| !stop.is_cancelled());
                    self.attend(message, connection, slot);
                }
            }
            if slots.len() == before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what comes, while there is no load.
    async fn wait_on(
        &self,
        consumer: PullConsumer,
        connection: Connection,
        load: &Load,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let most = WAITING.min(self.runner.settings.concurrency / 4);
        let mut waiting = Waiting::new(self.broker.nats().client(), consumer, most).await?;
        let mut is_on = load.is_on.subscribe();
        let ended = loop {
            if !*is_on.borrow_and_update()
                && let Err(error) = waiting.ask().await
            {
                break Err(error);
            }
            let next = tokio::select! {
                biased;
                next = waiting.next() => next,
                () = stop.cancelled() => break Ok(()),
                _ = is_on.changed() => continue,
            };
            match next {
                Ok(Some(message)) => self.take(message, connection, load, stop),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        for message in waiting.end().await {
            self.carrier(self.of_stream(message), connection).give_back(None).await;
        }
        ended
    }

    /// Attends to a message that came by itself, if there is a slot.
    fn take(
        &self,
        message: async_nats::Message,
        connection: Connection,
        load: &Load,
        stop: &CancellationToken,
    ) {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok().filter(|_| !stop.is_cancelled());
        if slot.is_none() {
            load.no_slot.notify_one();
        }
        self.attend(self.of_stream(message), connection, slot);
    }

    pub(crate) fn carrier(&self, message: Message, connection: Connection) -> Carrier {
        Carrier::new(message, self.broker.clone(), connection)
    }

    fn of_stream(&self, message: async_nats::Message) -> Message {
        Message { message, context: self.broker.jetstream().clone() }
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

    /// At least one slot, and what else is free, up to `most`.
    pub(crate) async fn free_slots(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        let Ok(first) = Arc::clone(&self.slots).acquire_owned().await else {
            return std::future::pending().await;
        };
        let mut slots = vec![first];
        while slots.len() < most {
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            slots.push(slot);
        }
        slots
    }

    /// The queues' consumers, the most urgent first.
    async fn consumers(&self) -> anyhow::Result<Vec<PullConsumer>> {
        let mut consumers = Vec::new();
        for priority in Priority::ALL {
            for queue in &self.runner.settings.queues {
                consumers.push(self.consumer(queue, priority).await?);
            }
        }
        Ok(consumers)
    }

    async fn consumer(&self, queue: &Queue, priority: Priority) -> anyhow::Result<PullConsumer> {
        let ack_wait = self.runner.settings.lease + carrier::GRACE;
        let definition = streams::worker_consumer(queue, priority, ack_wait);
        let jetstream = self.broker.jetstream();
        let consumer = streams::consumer::<Config>(jetstream, streams::JOBS, definition).await?;
        streams::with_ack_wait(jetstream, consumer, ack_wait).await.map_err(|error| anyhow::anyhow!(error))
    }
}

/// Whether more waits than there are slots.
#[derive(Debug, Default)]
struct Load {
    is_on: tokio::sync::watch::Sender<bool>,
    no_slot: Notify,
}
