//! The system at a glance: who works, what waits where, and how much is done.

use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use shared_events::{Kind, Queue, Timestamp, WorkerId, broadcasts::WorkerState};

use crate::{Client, Error};

/// All workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerList {
    /// Those that have run longest come first.
    pub workers: Vec<Worker>,
    /// Of when that is: now, to a second, unless NATS is away.
    pub as_of: Timestamp,
    /// How long ago that is, in seconds.
    pub age_s: f64,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its id, until it ends.
    pub id: WorkerId,
    /// The name of its machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Since when it runs.
    pub since: Timestamp,
    /// The queues that it serves.
    pub queues: Vec<Queue>,
    /// The kinds that it has handlers for.
    pub kinds: Vec<Kind>,
    /// How many attempts it makes at once, at most.
    pub slots: u32,
    /// How many it makes now.
    pub slots_used: u32,
    /// How many attempts it has started within the last minute.
    pub attempts_per_minute: u64,
    /// When it was heard last.
    pub last_seen: Timestamp,
    /// What it is doing.
    pub state: WorkerState,
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// So many.
    pub count: u64,
    /// Whether that is all of them; else there are at least so many.
    pub exact: bool,
}

/// Jobs that have ended in the last minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Since when that is known.
    pub since: Timestamp,
    /// They are done.
    pub finished: u64,
    /// They failed for good.
    pub failed: u64,
    /// They were cancelled.
    pub cancelled: u64,
}

/// Jobs that wait, by priority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Those that are taken first.
    pub high: Count,
    /// Those that name no priority.
    pub normal: Count,
    /// Those that are taken last.
    pub low: Count,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueState {
    /// Its name.
    pub queue: Queue,
    /// Jobs that wait for a worker.
    pub waiting: Waiting,
    /// Jobs that run.
    pub running: Count,
    /// Jobs whose time has not come.
    pub scheduled: Count,
    /// When the oldest of those that wait was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_at: Option<Timestamp>,
    /// How long ago that was, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_s: Option<f64>,
    /// Jobs that have ended in the last minutes.
    pub ended: Ended,
    /// How many workers take jobs from it.
    pub workers: u64,
}

/// All queues together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Jobs that wait for a worker.
    pub waiting: Count,
    /// Jobs that run.
    pub running: Count,
    /// Jobs whose time has not come.
    pub scheduled: Count,
    /// When the oldest of those that wait was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_at: Option<Timestamp>,
    /// Jobs that have ended in the last minutes.
    pub ended: Ended,
    /// How many have ended a second, over the last ten seconds.
    pub ended_per_s: f64,
    /// Queues that have jobs which have not ended.
    pub queues: Count,
    /// Workers.
    pub workers: u64,
    /// How many attempts they make at once, at most.
    pub slots: u64,
    /// How many they make now.
    pub slots_used: u64,
    /// Announcements that wait for the broker.
    pub outbox_waiting: u64,
    /// What is wrong, for people; empty where nothing is.
    pub problems: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct QueuePage {
    queues: Vec<QueueState>,
    next_page_token: String,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = if self.exact { self.count.to_string() } else { format!("{}+", self.count) };
        f.pad(&text)
    }
}

impl Client {
    /// The workers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workers(&self) -> Result<WorkerList, Error> {
        self.get_json("/v1/workers", &[]).await
    }

    /// Has a worker take nothing new; what it runs comes to its end.
    ///
    /// # Errors
    /// [`Error`]; `worker_not_found`, `worker_silent`.
    pub async fn drain(&self, worker: &WorkerId) -> Result<Worker, Error> {
        self.post(&format!("/v1/workers/{worker}/drain")).await
    }

    /// Has a worker take runs again.
    ///
    /// # Errors
    /// [`Error`]; `worker_not_found`, `worker_stopping`, `worker_silent`.
    pub async fn resume(&self, worker: &WorkerId) -> Result<Worker, Error> {
        self.post(&format!("/v1/workers/{worker}/resume")).await
    }

    /// The queues, in order of their names; pages are read as they are needed.
    pub fn queues(&self) -> impl Stream<Item = Result<QueueState, Error>> + '_ {
        let pages = stream::try_unfold(Some(String::new()), move |token| async move {
            let Some(token) = token else { return Ok::<_, Error>(None) };
            let page: QueuePage = self.get_json("/v1/queues", &[("page_token", token)]).await?;
            let next = Some(page.next_page_token).filter(|token| !token.is_empty());
            Ok(Some((page.queues, next)))
        });
        pages.flat_map(|page| match page {
            Ok(queues) => stream::iter(queues.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }

    /// The system at a glance, at most a second old.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.get_json("/v1/stats", &[]).await
    }
}
