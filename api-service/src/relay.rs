//! Announces jobs: at once when one was stored, and by a scan for what a crash or an absent broker
//! left behind. Both ways lead through [`Relay::announce`].

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use service_kit::telemetry::chain;
use shared_events::{Broker, Timestamp, subjects};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    backlog::Backlog,
    jobs::{Announcement, Job, Jobs},
    noting::Noting,
};

/// How many announcements may be under way outside the scan; what comes on top is left to the scan.
const DIRECT: usize = 4096;

/// How many jobs a scan takes at a time.
const SCAN: usize = 1000;

/// See the module. Copies share everything.
#[derive(Clone)]
pub struct Relay {
    jobs: Jobs,
    broker: Broker,
    noting: Arc<Noting>,
    backlog: Backlog,
    direct: Arc<Semaphore>,
    tasks: TaskTracker,
    /// How long an announcement may take before the scan makes it.
    patience: Duration,
}

impl Relay {
    /// Prepares the relay.
    #[must_use]
    pub fn new(
        jobs: Jobs,
        broker: Broker,
        noting: Arc<Noting>,
        backlog: Backlog,
        patience: Duration,
    ) -> Self {
        let direct = Arc::new(Semaphore::new(DIRECT));
        Self { jobs, broker, noting, backlog, direct, tasks: TaskTracker::new(), patience }
    }

    /// Whether too many announcements wait for one more job to be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Announces in the background. What does not work out is left to the scan.
    pub fn announce_soon(&self, job: Job) {
        let Ok(permit) = Arc::clone(&self.direct).try_acquire_owned() else {
            self.backlog.add_one();
            return;
        };
        let relay = self.clone();
        self.tasks.spawn(async move {
            if !relay.announce(&job).await {
                relay.backlog.add_one();
            }
            drop(permit);
        });
    }

    /// Waits for what is being announced in the background.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Looks for what was not announced, until told to stop.
    pub async fn scan(&self, every: Duration, stop: &CancellationToken) {
        let mut connects = self.broker.nats().connects();
        loop {
            // An absent broker takes nothing, and what is due stays due.
            let more = self.broker.nats().is_connected() && self.scan_once().await;
            self.count_backlog().await;
            if more {
                continue;
            }
            let pause = every.mul_f64(rand::random_range(0.75..1.25));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = connects.changed() => {}
            }
        }
    }

    /// Whether there may be more.
    async fn scan_once(&self) -> bool {
        let again_at = self.jobs.mongo().clock().after(self.patience);
        match self.jobs.take_unannounced(SCAN, again_at).await {
            Ok(jobs) => {
                let announcing = jobs.into_iter().map(|job| {
                    let relay = self.clone();
                    async move { relay.announce(&job).await }
                });
                let stored = join_all(announcing).await;
                let (found, stored) = (stored.len(), stored.into_iter().filter(|stored| *stored).count());
                if found > 0 {
                    info!(found, stored, "announced what was left behind");
                }
                found == SCAN && stored > 0
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

    /// Publishes the run's announcement and has its outbox mark taken off; whether the broker has it.
    async fn announce(&self, job: &Job) -> bool {
        let Some(created) = job.announcement() else {
            warn!(job.id = %job.job_id(), "job has no announcement: its payload is not readable");
            return false;
        };
        let now = self.jobs.mongo().clock().now();
        let trace = job.trace.map(shared_events::TraceContext::child);
        let body = match created.encode(Timestamp::from_millis(now.timestamp_millis()), trace) {
            Ok(body) => body,
            Err(error) => {
                warn!(job.id = %job.job_id(), %error, "job has no event");
                return false;
            }
        };
        let subject = subjects::created(&job.queue, job.priority);
        match self.broker.publish(subject, Some(&created.id()), body).await {
            Ok(stored) => {
                let sequence = i64::try_from(stored.sequence).unwrap_or(i64::MAX);
                self.noting.note(job, Announcement { sequence, at: now });
                true
            }
            Err(error) => {
                debug!(job.id = %job.job_id(), %error, "not announced; left to the scan");
                false
            }
        }
    }
}
