//! Announces jobs: at once when one was stored, and by a scan for what a crash or an absent broker
//! left behind. Both ways lead through `Relay::announce`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use bson::DateTime;
use futures::{TryStreamExt, future::join_all};
use service_kit::{
    Weigh,
    faults::{Safeguard, gap},
    telemetry::chain,
};
use shared_events::{Broker, Queue, Timestamp, TraceContext, streams, subjects};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    backlog::Backlog,
    jobs::{Announced, Duty, Generations, Job, Jobs, Note, Taken},
    noting::Noting,
    queue_shares::QueueShares,
    stream_generation::StreamGenerations,
};

/// How many jobs a scan takes at a time.
const SCAN: usize = 1000;

/// How many jobs of a queue are announced at a time when it has room again.
const SCAN_OF_QUEUE: usize = 64;

/// The pause between two looks for room, while jobs wait for it and some get it.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// How long an announcement waits until this replica knows of the generation that it is meant for.
const GENERATION_WAIT: Duration = Duration::from_secs(2);

/// See the module. Copies share everything.
#[derive(Clone)]
pub struct Relay {
    jobs: Jobs,
    broker: Broker,
    noting: Arc<Noting>,
    backlog: Backlog,
    generations: StreamGenerations,
    shares: QueueShares,
    tasks: TaskTracker,
    woken: Arc<Notify>,
    timing: RelayTiming,
}

/// When the relay does what.
#[derive(Debug, Clone, Copy)]
pub struct RelayTiming {
    /// How often the jobs are looked through.
    pub scan: Duration,
    /// How long an announcement may take before the scan makes it.
    pub patience: Duration,
    /// How long an announced job may be silent before it is looked at.
    pub silent_after: Duration,
}

impl Relay {
    /// Prepares the relay.
    #[must_use]
    pub fn new(
        jobs: Jobs,
        broker: Broker,
        noting: Arc<Noting>,
        backlog: Backlog,
        generations: StreamGenerations,
        timing: RelayTiming,
    ) -> Self {
        let (tasks, woken, shares) = (TaskTracker::new(), Arc::default(), QueueShares::default());
        Self { jobs, broker, noting, backlog, generations, shares, tasks, woken, timing }
    }

    /// Whether too many announcements wait for one more job of this queue to be taken.
    #[must_use]
    pub fn is_full(&self, queue: &Queue) -> bool {
        self.backlog.is_full(queue)
    }

    /// The outbox mark of a new run in this queue.
    #[must_use]
    pub fn mark_for(&self, queue: &Queue) -> Duty {
        if self.shares.has_room(queue) { Duty::Announce } else { Duty::AwaitRoom }
    }

    /// Announces in the background, as soon as not too many are under way: that slows down who creates
    /// jobs faster than the broker takes them. What does not work out is left to the scan.
    pub async fn announce_soon(&self, job: Arc<Job>) {
        if job.duty == Some(Duty::AwaitRoom) {
            self.backlog.add_without_room(&job.queue);
            return;
        }
        let has_room = self.shares.has_room(&job.queue);
        let turn = if has_room { self.broker.turn(job.weight()).await } else { None };
        let Some(turn) = turn else {
            self.backlog.add_marked();
            return;
        };
        let relay = self.clone();
        self.tasks.spawn(async move {
            if !relay.announce(&job).await {
                relay.backlog.add_marked();
            }
            drop(turn);
        });
    }

    /// Has the scan look at once: something is due.
    pub fn wake(&self) {
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
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25))) => {}
                _ = connects.changed() => {}
                () = self.woken.notified() => {}
            }
        }
    }

    /// Whether there may be more.
    async fn scan_once(&self) -> bool {
        let again_at = self.jobs.mongo().clock().after(self.timing.patience);
        match self.jobs.take_unannounced(SCAN, again_at).await {
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

    /// Those of the jobs that can be announced; the others wait until their queue has room.
    async fn with_room(&self, jobs: Vec<Job>) -> Vec<Job> {
        let fits = |job: &Job| job.duty == Some(Duty::Cancel) || self.shares.has_room(&job.queue);
        let (fitting, waiting): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(fits);
        let ids: Vec<bson::Uuid> = waiting.iter().map(|job| job.id).collect();
        if !ids.is_empty() {
            match self.jobs.await_room(&ids).await {
                Ok(()) => debug!(jobs = ids.len(), "queues have used up their share of the broker's room"),
                Err(error) => warn!(error = chain(&error), "jobs without room are still marked"),
            }
        }
        fitting
    }

    /// Announces what has waited for room and has it now; whether any was.
    async fn scan_for_room(&self) -> bool {
        let mut any = false;
        for queue in self.backlog.queues_without_room() {
            loop {
                let most = self.shares.messages_with_room(&queue).min(SCAN_OF_QUEUE);
                if most == 0 {
                    break;
                }
                let again_at = self.jobs.mongo().clock().after(self.timing.patience);
                let taken = match self.jobs.take_without_room(&queue, most, again_at).await {
                    Ok(taken) => taken,
                    Err(error) => {
                        warn!(error = chain(&error), %queue, "could not look for jobs that wait for room");
                        return any;
                    }
                };
                any |= self.announce_all(taken.jobs).await > 0;
                if !taken.more {
                    break;
                }
            }
        }
        any
    }

    /// Whether it is known now how full the broker is.
    async fn look_at_room(&self) -> bool {
        let looked = self.ask_for_room().await;
        if let Err(error) = &looked {
            debug!(error = chain(error.as_ref()), "does not know how full the broker is");
        }
        looked.is_ok()
    }

    /// Asks the broker how full the stream is, and whose messages it holds where that matters.
    async fn ask_for_room(&self) -> anyhow::Result<()> {
        let stream = self.broker.jetstream().get_stream(streams::JOBS).await?;
        let info = stream.cached_info();
        let limit = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0);
        let mut by_queue = HashMap::new();
        if limit.is_some_and(|limit| QueueShares::is_tight(limit, info.state.bytes)) {
            let mut subjects = stream.info_with_subjects(subjects::ALL_CREATED).await?;
            while let Some((subject, messages)) = subjects.try_next().await? {
                if let Some(queue) = subjects::queue_of_created(&subject) {
                    *by_queue.entry(queue).or_default() += messages as u64;
                }
            }
        }
        self.shares.set(limit, info.state.bytes, info.state.messages, &by_queue);
        Ok(())
    }

    async fn count_backlog(&self) {
        let counting = async {
            if self.backlog.is_suspected() || !self.broker.nats().is_connected() {
                self.backlog.set_marked(self.jobs.count_unannounced(self.backlog.max()).await?);
            }
            self.backlog.set_without_room(self.jobs.count_without_room().await?);
            Ok::<_, service_kit::StoreError>(())
        };
        if let Err(error) = counting.await {
            debug!(error = chain(&error), "could not count what waits for the broker");
        }
    }

    /// Of how many the broker has the announcement.
    async fn announce_all(&self, jobs: Vec<Job>) -> usize {
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
        let mark = if job.duty == Some(Duty::Cancel) { Duty::Cancel } else { Duty::Announce };
        let now = self.jobs.mongo().clock().now();
        gap("api.relay.taken");
        let published = match mark {
            Duty::Cancel => self.publish_cancel(job, now).await,
            _ => self.publish_created(job, now).await,
        };
        gap("api.relay.published");
        match published {
            Ok(Some(announced)) => self.noting.note(Note {
                job: job.job_id(),
                run: job.run,
                epoch: job.epoch,
                mark,
                announced,
                check_at: self.jobs.after(self.timing.silent_after),
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
        let body = created.encode(timestamp(at), job.trace.map(TraceContext::child))?;
        let (subject, bytes) = (subjects::created(&job.queue, job.priority), body.len());
        let stored = self.broker.publish(subject, Some(&created.id()), body).await?;
        if !stored.duplicate {
            self.shares.add(&job.queue, bytes);
        }
        let sequence = i64::try_from(stored.sequence).unwrap_or(i64::MAX);
        let generation = self.generations.jobs.stored(sent, stored).filter(|_| before.are_known());
        Ok(generation.map(|jobs| Announced { generations: Generations { jobs, ..before }, sequence, at }))
    }

    async fn publish_cancel(&self, job: &Job, at: DateTime) -> anyhow::Result<Option<Announced>> {
        let (before, sent) = (self.generations.numbers(), self.generations.control.sent());
        let body = job.cancel_event().encode(timestamp(at), job.trace.map(TraceContext::child))?;
        let stored = self.broker.publish(subjects::cancel(&job.queue), None, body).await?;
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
