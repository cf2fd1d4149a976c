//! Announces jobs: at once when one was stored, and by a scan for what a crash or an absent broker
//! left behind. Both ways lead through `Relay::announce`.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use bson::DateTime;
use futures::future::join_all;
use service_kit::{
    Weigh,
    faults::{Safeguard, gap},
    telemetry::chain,
};
use shared_events::{Broker, Timestamp, TraceContext, subjects};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    backlog::Backlog,
    broker_store::BrokerStore,
    jobs::{Announcement, Duty, Job, Jobs, Note},
    noting::Noting,
};

/// How many jobs a scan takes at a time.
const SCAN: usize = 1000;

/// See the module. Copies share everything.
#[derive(Clone)]
pub struct Relay {
    jobs: Jobs,
    broker: Broker,
    noting: Arc<Noting>,
    backlog: Backlog,
    store: BrokerStore,
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
        store: BrokerStore,
        timing: RelayTiming,
    ) -> Self {
        let (tasks, woken) = (TaskTracker::new(), Arc::default());
        Self { jobs, broker, noting, backlog, store, tasks, woken, timing }
    }

    /// Whether too many announcements wait for one more job to be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Announces in the background, as soon as not too many are under way: that slows down who creates
    /// jobs faster than the broker takes them. What does not work out is left to the scan.
    pub async fn announce_soon(&self, job: Arc<Job>) {
        let Some(turn) = self.broker.turn(job.weight()).await else {
            self.backlog.add_one();
            return;
        };
        let relay = self.clone();
        self.tasks.spawn(async move {
            if !relay.announce(&job).await {
                relay.backlog.add_one();
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
            let more = scans && self.scan_once().await;
            self.count_backlog().await;
            if more {
                continue;
            }
            let pause = self.timing.scan.mul_f64(rand::random_range(0.75..1.25));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = connects.changed() => {}
                () = self.woken.notified() => {}
            }
        }
    }

    /// Whether there may be more.
    async fn scan_once(&self) -> bool {
        let again_at = self.jobs.mongo().clock().after(self.timing.patience);
        match self.jobs.take_unannounced(SCAN, again_at).await {
            Ok(taken) => {
                let announcing = taken.jobs.into_iter().map(|job| {
                    let relay = self.clone();
                    async move { relay.announce(&job).await }
                });
                let stored = join_all(announcing).await;
                let (found, stored) = (stored.len(), stored.into_iter().filter(|stored| *stored).count());
                if found > 0 {
                    info!(found, stored, "announced what was left behind");
                }
                taken.more && stored > 0
            }
            Err(error) => {
                warn!(error = chain(&error), "could not look for unannounced jobs");
                false
            }
        }
    }

    async fn count_backlog(&self) {
        if !self.backlog.is_suspected() && self.broker.nats().is_connected() {
            return;
        }
        match self.jobs.count_unannounced(self.backlog.max()).await {
            Ok(counted) => self.backlog.set(counted),
            Err(error) => debug!(error = chain(&error), "could not count what waits for the broker"),
        }
    }

    /// Publishes what the outbox mark asks for and has it taken off; whether the broker has it.
    async fn announce(&self, job: &Job) -> bool {
        let mark = if job.duty == Some(Duty::Cancel) { Duty::Cancel } else { Duty::Announce };
        let (store, before) = (self.store.number(), self.store.highest());
        let now = self.jobs.mongo().clock().now();
        gap("api.relay.taken");
        let published = match mark {
            Duty::Cancel => self.publish_cancel(job, now).await.map(|_| 0),
            Duty::Announce | Duty::Check => self.publish_created(job, now, before).await,
        };
        gap("api.relay.published");
        let sequence = match published {
            Ok(sequence) => sequence,
            Err(error) => {
                debug!(job.id = %job.job_id(), error = chain(error.as_ref()), "not announced; left to the scan");
                return false;
            }
        };
        self.noting.note(Note {
            job: job.job_id(),
            run: job.run,
            epoch: job.epoch,
            mark,
            announcement: Announcement { store, sequence, at: now },
            check_at: self.jobs.after(self.timing.silent_after),
        });
        true
    }

    async fn publish_created(&self, job: &Job, now: DateTime, before: i64) -> anyhow::Result<i64> {
        let created = job.announcement().context("the stored payload is not readable")?;
        let body = created.encode(timestamp(now), job.trace.map(TraceContext::child))?;
        let subject = subjects::created(&job.queue, job.priority);
        let stored = self.broker.publish(subject, Some(&created.id()), body).await?;
        let sequence = i64::try_from(stored.sequence).unwrap_or(i64::MAX);
        if !stored.duplicate {
            self.store.seen(before, sequence);
        }
        Ok(sequence)
    }

    async fn publish_cancel(&self, job: &Job, now: DateTime) -> anyhow::Result<()> {
        let body = job.cancel_event().encode(timestamp(now), job.trace.map(TraceContext::child))?;
        self.broker.publish(subjects::cancel(&job.queue), None, body).await?;
        Ok(())
    }
}

fn timestamp(date: DateTime) -> Timestamp {
    Timestamp::from_millis(date.timestamp_millis())
}
