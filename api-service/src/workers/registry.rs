//! What is known of the workers, without any connection: who is there, who is gone, and how old that is.
//!
//! Time is measured by what was heard, not by the clock: a worker is gone when others are heard long after it. So nobody
//! goes while this replica hears nothing, and its answer says how old it is.

use std::{collections::HashMap, time::Duration};

use shared_events::{
    Queue, Timestamp, WorkerId,
    broadcasts::{Heartbeat, WorkerState},
};
use tokio::time::Instant;
use tracing::warn;

/// How long after its last heart-beat a worker is gone.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// A silence longer than this is this replica's own: it hears nothing, and afterwards every worker has time to be heard
/// again.
const DEAF_AFTER: Duration = Duration::from_secs(3);

/// How long it takes until every worker was heard once.
const COMPLETE_AFTER: Duration = Duration::from_secs(2);

/// How often it is looked for who is gone: not with each of many heart-beats.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most workers that are kept.
const MOST: usize = 10_000;

/// A point in time: for measuring, and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock.
    pub instant: Instant,
    /// By this machine's clock.
    pub time: Timestamp,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }
}

/// A worker's last heart-beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it said.
    pub heartbeat: Heartbeat,
    /// When it was heard.
    pub at: Moment,
}

/// All that is known at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The workers, those that have run longest first.
    pub workers: Vec<Seen>,
    /// When anything was heard last: what is known is as of then. The start of this replica where it has heard nothing.
    pub as_of: Timestamp,
    /// How long ago that is.
    pub age: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    workers: HashMap<WorkerId, Seen>,
    /// When anything was heard last.
    heard: Moment,
    /// Since when nothing is missed; none as long as nothing was ever heard.
    listening_since: Option<Instant>,
    /// When it was last looked for who is gone.
    looked: Instant,
}

impl Registry {
    /// Knows nobody.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { workers: HashMap::new(), heard: now, listening_since: None, looked: now.instant }
    }

    /// Takes in a worker's heart-beat.
    pub fn heartbeat(&mut self, heartbeat: Heartbeat, now: Moment) {
        self.hears(now);
        if heartbeat.state == WorkerState::Stopped {
            self.workers.remove(&heartbeat.id);
        } else if self.workers.len() < MOST || self.workers.contains_key(&heartbeat.id) {
            self.workers.insert(heartbeat.id.clone(), Seen { heartbeat, at: now });
        } else {
            warn!(worker = %heartbeat.id, most = MOST, "too many workers; this one is not shown");
        }
    }

    /// Takes in that something was heard; whoever has been silent for long is gone.
    pub fn hears(&mut self, now: Moment) {
        let is_deaf = now.instant - self.heard.instant > DEAF_AFTER;
        if is_deaf || self.listening_since.is_none() {
            self.listening_since = Some(now.instant);
        }
        self.heard = now;
        if now.instant - self.looked < LOOK_EVERY {
            return;
        }
        self.looked = now.instant;
        let since = self.listening_since.unwrap_or(now.instant);
        self.workers.retain(|_, seen| now.instant - seen.at.instant.max(since) <= GONE_AFTER);
    }

    /// A worker that is there.
    #[must_use]
    pub fn get(&self, id: &WorkerId) -> Option<&Seen> {
        self.workers.get(id)
    }

    /// How many workers take runs of this queue.
    #[must_use]
    pub fn serving(&self, queue: &Queue) -> usize {
        let serves = |beat: &Heartbeat| beat.state == WorkerState::Running && beat.queues.contains(queue);
        self.workers.values().filter(|seen| serves(&seen.heartbeat)).count()
    }

    /// Whether every worker that is there must have been heard by now.
    #[must_use]
    pub fn is_complete(&self, now: Moment) -> bool {
        let is_heard = now.instant - self.heard.instant <= DEAF_AFTER;
        is_heard && self.listening_since.is_some_and(|since| now.instant - since >= COMPLETE_AFTER)
    }

    /// How long nothing was heard.
    #[must_use]
    pub fn silence(&self, now: Moment) -> Duration {
        now.instant - self.heard.instant
    }

    /// All workers, and of when that is.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let mut workers: Vec<Seen> = self.workers.values().cloned().collect();
        workers
            .sort_by(|a, b| (a.heartbeat.since, &a.heartbeat.id).cmp(&(b.heartbeat.since, &b.heartbeat.id)));
        Snapshot { workers, as_of: self.heard.time, age: self.silence(now) }
    }
}

#[cfg(test)]
mod tests;
