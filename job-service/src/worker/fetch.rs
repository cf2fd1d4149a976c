//! Takes announcements from the stream.
//!
//! Under load: pulls that do not wait. Queues share the slots evenly, so that one that never runs dry leaves the others
//! theirs; within a queue, priorities come in their order. Else a waiting pull of a few messages
//! for each consumer; a message that finds no slot is given back unclaimed, and the load is on.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{Message, consumer::PullConsumer};
use service_kit::{nats::streams, retry, telemetry::chain};
use shared_events::{
    Priority, Queue,
    streams::{ConsumerDefinition, worker_consumer},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Worker,
    kind_slots::LOOK,
    late_ack::{PendingAck, REDELIVERY_GRACE},
    origin::Origin,
    pull::{self, Waiting},
};

/// The most messages of one pull that does not wait.
const BATCH: usize = 256;

/// The most messages of one waiting pull; a quarter of the slots where that is less.
const WAITING: usize = 32;

/// The consumer of one queue and priority, and the origin of what comes from it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) queue: Queue,
    pub(super) consumer: PullConsumer,
    pub(super) origin: Origin,
}

/// Fetches until told to stop; makes the consumers anew whenever one does not answer as it should.
pub async fn run(worker: &Worker, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = worker.fetch(stop).await {
            debug!(error = chain(error.as_ref()), "fetching is interrupted; looking for the consumers again");
            worker.broker.suspect_missing();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retry::moment()) => {}
        }
    }
}

impl Worker {
    /// Returns when stopped, or when the consumers are to be made anew.
    async fn fetch(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut connects = self.broker.nats().connects();
        connects.mark_unchanged();
        let queues = self.sources().await?;
        let (waits, load) = (stop.child_token(), Arc::new(Load::default()));
        let mut waiting = JoinSet::new();
        for source in queues.iter().flatten() {
            let (worker, source) = (self.clone(), source.clone());
            let (load, waits) = (Arc::clone(&load), waits.clone());
            waiting.spawn(async move { worker.wait_on(source, &load, &waits).await });
        }
        let done = loop {
            load.is_on.send_replace(true);
            if let Err(error) = self.work_off(&queues, stop).await {
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

    /// Takes what is there, until nothing is.
    async fn work_off(&self, queues: &[Vec<Source>], stop: &CancellationToken) -> anyhow::Result<()> {
        // Whoever comes first gets an odd slot, so that changes from round to round.
        for first in (0..queues.len()).cycle() {
            if stop.is_cancelled() {
                break;
            }
            if self.database_is_away(stop).await {
                continue;
            }
            let mut slots = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                slots = self.free_slots(BATCH) => slots,
            };
            let before = slots.len();
            let in_turn = queues[first..].iter().chain(&queues[..first]);
            for (queue, left) in in_turn.zip((1..=queues.len()).rev()) {
                let share = slots.len().div_ceil(left);
                let rest = slots.split_off(share);
                slots = self.work_off_queue(queue, slots, stop).await?;
                slots.extend(rest);
            }
            if slots.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is there of one queue, in order of priority; the slots that are left.
    async fn work_off_queue(
        &self,
        queue: &[Source],
        mut slots: Vec<OwnedSemaphorePermit>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<OwnedSemaphorePermit>> {
        for source in queue {
            if slots.is_empty() || !self.room.has(&source.queue).await {
                break;
            }
            for message in pull::now(&source.consumer, slots.len()).await? {
                let slot = slots.pop().filter(|_| !stop.is_cancelled());
                self.attend(message, source.origin.clone(), slot);
            }
        }
        Ok(slots)
    }

    /// Takes what comes, while there is no load.
    async fn wait_on(
        &self,
        Source { queue, consumer, origin }: Source,
        load: &Load,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let most = WAITING.min(self.concurrency / 4);
        let mut waiting = Waiting::new(self.broker.nats().client(), consumer, most).await?;
        let mut is_on = load.is_on.subscribe();
        let ended = loop {
            let has_room = self.room.has(&queue).await;
            if has_room
                && !*is_on.borrow_and_update()
                && let Err(error) = waiting.ask().await
            {
                break Err(error);
            }
            let next = tokio::select! {
                biased;
                next = waiting.next() => next,
                () = stop.cancelled() => break Ok(()),
                _ = is_on.changed() => continue,
                () = tokio::time::sleep(LOOK), if !has_room => continue,
            };
            match next {
                Ok(Some(message)) => self.take(message, &origin, load, stop),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        for message in waiting.end().await {
            PendingAck::new(self.of_stream(message), origin.clone()).give_back(None).await;
        }
        ended
    }

    /// Attends to a message that came by itself, if there is a slot.
    fn take(&self, message: async_nats::Message, origin: &Origin, load: &Load, stop: &CancellationToken) {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok().filter(|_| !stop.is_cancelled());
        if slot.is_none() {
            load.no_slot.notify_one();
        }
        self.attend(self.of_stream(message), origin.clone(), slot);
    }

    fn of_stream(&self, message: async_nats::Message) -> Message {
        Message { message, context: self.broker.jetstream().clone() }
    }

    /// Waits a little where the database has just failed to answer: what can not be claimed is not fetched.
    pub(super) async fn database_is_away(&self, stop: &CancellationToken) -> bool {
        let pause = Duration::from_secs(1);
        if self.mongo().since_failure().is_none_or(|since| since >= pause) {
            return false;
        }
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Of each queue its consumers, the most urgent first.
    pub(super) async fn sources(&self) -> anyhow::Result<Vec<Vec<Source>>> {
        let connection = self.broker.nats().connection();
        let mut queues = Vec::new();
        for queue in self.queues.iter() {
            let mut sources = Vec::new();
            for priority in Priority::ALL {
                let consumer = self.consumer(queue, priority).await?;
                let origin = self.origins.of(&consumer, &self.broker, connection);
                sources.push(Source { queue: queue.clone(), consumer, origin });
            }
            queues.push(sources);
        }
        Ok(queues)
    }

    async fn consumer(&self, queue: &Queue, priority: Priority) -> anyhow::Result<PullConsumer> {
        let (jetstream, definition) = (self.broker.jetstream(), self.consumer_definition(queue, priority));
        let consumer = streams::consumer(jetstream, &definition).await?;
        let consumer = streams::with_ack_wait(jetstream, consumer, definition.ack_wait).await;
        consumer.map_err(|error| anyhow::anyhow!(error))
    }

    fn consumer_definition(&self, queue: &Queue, priority: Priority) -> ConsumerDefinition {
        worker_consumer(queue, priority, self.executor.ledger.lease() + REDELIVERY_GRACE)
    }

    /// The consumers of all its queues.
    pub(crate) fn consumer_definitions(&self) -> Vec<ConsumerDefinition> {
        let of = |queue| Priority::ALL.map(|priority| self.consumer_definition(queue, priority));
        self.queues.iter().flat_map(of).collect()
    }
}

/// Whether more waits than there are slots.
#[derive(Debug, Default)]
struct Load {
    is_on: tokio::sync::watch::Sender<bool>,
    no_slot: Notify,
}
