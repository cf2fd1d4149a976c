//! Announces jobs: at once when one was stored, and by a scan for what a crash or an absent broker
//! left behind. Both ways lead through `Relay::announce`.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use bson::DateTime;
use bytes::Bytes;
use futures::future::join_all;
use service_kit::{
    Broker, Weigh,
    failpoints::{Safeguard, failpoint},
    nats::{PublishError, Stored},
    retry::jittered,
    telemetry::{
        chain,
        traces::{self, KeyValue, SpanType},
    },
};
use shared_events::{Queue, Timestamp, TraceContext, subjects};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::{
    backlog::Backlog,
    promotion::NextLook,
    queue_shares::QueueShares,
    store::{OutboxStore, PublishReceipt, Taken},
    stream_generation::StreamGenerations,
    unmarking::Unmarking,
};
use crate::{
    jobs::{Announced, Generations, Job, NextAction, Outbox},
    traces::{SEND_CANCEL, SEND_CREATED, of_job},
};

/// How many jobs a scan takes at a time.
const SCAN: usize = 1000;

/// The pause between two looks for room, while jobs wait for it and some get it.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// How long an announcement waits until this replica knows of the generation that it is meant for.
const GENERATION_WAIT: Duration = Duration::from_secs(2);

/// See the module. Copies share everything.
#[derive(Clone)]
pub struct Relay {
    pub(super) store: OutboxStore,
    pub(super) broker: Broker,
    unmarking: Arc<Unmarking>,
    pub(super) backlog: Backlog,
    generations: StreamGenerations,
    pub(super) shares: QueueShares,
    tasks: TaskTracker,
    woken: Arc<Notify>,
    pub(super) next_look: Arc<NextLook>,
    pub(super) timing: RelayTiming,
}

#[async_trait]
impl Outbox for Relay {
    fn is_full(&self, queue: &Queue) -> bool {
        self.backlog.is_full(queue)
    }

    fn mark_for(&self, queue: &Queue) -> NextAction {
        if self.shares.has_room(queue) { NextAction::Announce } else { NextAction::AwaitRoom }
    }

    /// Waiting for a permit slows down who creates jobs faster than the broker takes them. What does not work out is
    /// left to the scan.
    async fn announce_soon(&self, job: Arc<Job>) {
        match (job.next_action, job.next_action_at) {
            (Some(NextAction::Promote), Some(due)) => return self.next_look.no_later_than(due),
            (Some(NextAction::AwaitRoom), _) => return self.backlog.add_without_room(&job.queue),
            _ => {}
        }
        let has_room = self.shares.has_room(&job.queue);
        let permit = if has_room { self.broker.permit(job.weight()).await } else { None };
        let Some(permit) = permit else {
            self.backlog.add_marked();
            return;
        };
        let relay = self.clone();
        self.tasks.spawn(async move {
            if !relay.announce(&job).await {
                relay.backlog.add_marked();
            }
            drop(permit);
        });
    }

    fn wake(&self) {
        self.wake_scan();
    }
}

/// When the relay does what.
#[derive(Debug, Clone, Copy)]
pub struct RelayTiming {
    /// How often the jobs are looked through.
    pub scan: Duration,
    /// How long an announcement may take before the scan makes it.
    pub after: Duration,
    /// How long an announced job may be silent before it is looked at.
    pub silent_after: Duration,
}

impl Relay {
    /// Prepares the relay.
    #[must_use]
    pub fn new(
        store: OutboxStore,
        broker: Broker,
        unmarking: Arc<Unmarking>,
        backlog: Backlog,
        generations: StreamGenerations,
        timing: RelayTiming,
    ) -> Self {
        let (tasks, shares) = (TaskTracker::new(), QueueShares::default());
        let (woken, next_look) = (Arc::default(), Arc::default());
        Self { store, broker, unmarking, backlog, generations, shares, tasks, woken, next_look, timing }
    }

    pub(super) fn wake_scan(&self) {
        self.woken.notify_one();
    }

    /// Waits for what is being announced in the background.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Looks for what was not announced, until told to stop.
    pub async fn scan(&self, stop: &CancellationToken) {
        let mut connects = self.broker.nats().connects();
        loop {
            // An absent broker takes nothing, and what is due stays due.
            let scans = self.broker.nats().is_connected() && !Safeguard::RelayScan.is_off();
            let is_seen = scans && self.look_at_room().await;
            let more = scans && self.scan_once().await;
            self.count_backlog().await;
            let room = is_seen && self.scan_for_room().await;
            if more {
                continue;
            }
            let pause = if room { ROOM_PAUSE } else { self.timing.scan };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
                _ = connects.changed() => {}
                () = self.woken.notified() => {}
            }
        }
    }

    /// Whether there may be more.
    async fn scan_once(&self) -> bool {
        let again_at = self.store.mongo().clock().after(self.timing.after);
        match self.store.take_unannounced(SCAN, again_at).await {
            Ok(Taken { jobs, more }) => {
                let found = jobs.len();
                let stored = self.announce_all(self.with_room(jobs).await).await;
                if found > 0 {
                    info!(found, stored, "announced what was left behind");
                }
                more && stored > 0
            }
            Err(error) => {
                warn!(error = chain(&error), "could not look for unannounced jobs");
                false
            }
        }
    }

    async fn count_backlog(&self) {
        let counting = async {
            if self.backlog.is_suspected() || !self.broker.nats().is_connected() {
                self.backlog.set_marked(self.store.count_unannounced(self.backlog.max()).await?);
            }
            self.backlog.set_without_room(self.store.count_without_room().await?);
            Ok::<_, service_kit::StoreError>(())
        };
        if let Err(error) = counting.await {
            debug!(error = chain(&error), "could not count what waits for the broker");
        }
    }

    /// Of how many the broker has the announcement.
    pub(super) async fn announce_all(&self, jobs: Vec<Job>) -> usize {
        let announcing = jobs.into_iter().map(|job| {
            let relay = self.clone();
            async move { relay.announce(&job).await }
        });
        join_all(announcing).await.into_iter().filter(|stored| *stored).count()
    }

    /// Publishes what the outbox mark asks for and has it taken off; whether the broker has it.
    async fn announce(&self, job: &Job) -> bool {
        let wanted = job.for_generation.unwrap_or(0);
        if !self.generations.jobs.reaches(wanted, GENERATION_WAIT).await {
            return false;
        }
        let mark = if job.next_action == Some(NextAction::Cancel) {
            NextAction::Cancel
        } else {
            NextAction::Announce
        };
        let now = self.store.mongo().clock().now();
        failpoint("api.relay.taken");
        let published = match mark {
            NextAction::Cancel => self.publish_cancel(job, now).await,
            _ => self.publish_created(job, now).await,
        };
        failpoint("api.relay.published");
        match published {
            Ok(Some(announced)) => self.unmarking.add(PublishReceipt {
                job: job.job_id(),
                run: job.run,
                epoch: job.epoch,
                mark,
                announced,
                check_at: self.store.mongo().clock().after(self.timing.silent_after),
            }),
            // It is stored, but nobody knows in which generation: its mark stays, and it is announced once more.
            Ok(None) => {}
            Err(error) => {
                debug!(job.id = %job.job_id(), error = chain(error.as_ref()), "not announced; left to the scan");
                return false;
            }
        }
        true
    }

    async fn publish_created(&self, job: &Job, at: DateTime) -> anyhow::Result<Option<Announced>> {
        let (before, sent) = (self.generations.numbers(), self.generations.jobs.sent());
        let created = job.announcement().context("the stored payload is not readable")?;
        let trace = job.trace.map(TraceContext::child);
        let body = created.encode(timestamp(at), trace)?;
        let (subject, bytes, id) = (subjects::created(&job.queue, job.priority), body.len(), created.id());
        let stored = self.publish(&SEND_CREATED, job, trace, subject, Some(&id), body).await?;
        if !stored.duplicate {
            self.shares.add(&job.queue, bytes);
        }
        let sequence = i64::try_from(stored.sequence).unwrap_or(i64::MAX);
        let generation = self.generations.jobs.stored(sent, stored).filter(|_| before.are_known());
        Ok(generation.map(|jobs| Announced { generations: Generations { jobs, ..before }, sequence, at }))
    }

    /// Publishes within a span that goes along as `trace`.
    async fn publish(
        &self,
        of: &'static SpanType,
        job: &Job,
        trace: Option<TraceContext>,
        subject: String,
        id: Option<&str>,
        body: Bytes,
    ) -> Result<Stored, PublishError> {
        let Some((begun, trace)) = traces::begin().zip(trace.filter(|trace| trace.is_sampled())) else {
            return self.broker.publish(subject, id, body).await;
        };
        let destination = KeyValue::new("messaging.destination.name", subject.clone());
        let message = id.map(|id| KeyValue::new("messaging.message.id", id.to_owned()));
        let stored = self.broker.publish(subject, id, body).await;
        let span = of.span(trace, job.trace, begun).with(of_job(job)).with([destination]).with(message);
        span.failed(stored.as_ref().err().map(|error| chain(error))).record();
        stored
    }

    async fn publish_cancel(&self, job: &Job, at: DateTime) -> anyhow::Result<Option<Announced>> {
        let (before, sent) = (self.generations.numbers(), self.generations.control.sent());
        let trace = job.trace.map(TraceContext::child);
        let body = job.cancel_event().encode(timestamp(at), trace)?;
        let stored = self.publish(&SEND_CANCEL, job, trace, subjects::cancel(&job.queue), None, body).await?;
        let generation = self.generations.control.stored(sent, stored).filter(|_| before.are_known());
        Ok(generation.map(|control| Announced {
            generations: Generations { control, ..before },
            sequence: 0,
            at,
        }))
    }
}

fn timestamp(date: DateTime) -> Timestamp {
    Timestamp::from_millis(date.timestamp_millis())
}
