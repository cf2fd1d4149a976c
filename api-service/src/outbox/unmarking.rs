//! Taking outbox marks off, without haste: the write that ends a job clears its mark anyway, so the
//! mark of a job that ends within a moment need not be cleared by a write of its own.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use service_kit::{failpoints::failpoint, telemetry::chain};
use shared_events::JobId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::store::{OutboxStore, PublishReceipt};

/// How many marks may wait; over it the oldest are taken off at once.
const MOST: usize = 50_000;

/// How many marks are taken off at a time.
const BATCH: usize = 500;

/// Marks that are to be taken off.
#[derive(Debug)]
pub struct Unmarking {
    moment: Duration,
    waiting: Mutex<Waiting>,
    first: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    by_job: HashMap<JobId, PublishReceipt>,
    by_age: VecDeque<(Instant, JobId)>,
}

impl Unmarking {
    /// `moment` is how long a mark may stay after its announcement was stored: less than the time
    /// after which the relay's scan would announce the job again.
    #[must_use]
    pub fn new(moment: Duration) -> Self {
        Self { moment, waiting: Mutex::default(), first: Notify::new() }
    }

    /// Has the mark taken off in a moment, unless the job's end is known before.
    pub fn add(&self, receipt: PublishReceipt) {
        let was_empty = self.with(|waiting| {
            let was_empty = waiting.by_age.is_empty();
            waiting.by_age.push_back((Instant::now(), receipt.job));
            waiting.by_job.insert(receipt.job, receipt);
            was_empty
        });
        if was_empty {
            self.first.notify_one();
        }
    }

    /// These runs have ended: their marks are gone.
    pub fn forget(&self, ended: impl Iterator<Item = (JobId, u32)>) {
        self.with(|waiting| {
            for (job, run) in ended {
                if waiting.by_job.get(&job).is_some_and(|receipt| receipt.run <= run) {
                    waiting.by_job.remove(&job);
                }
            }
        });
    }

    /// The broker's store is not what these announcements went to: their marks stay.
    pub fn forget_all(&self) {
        self.with(|waiting| *waiting = Waiting::default());
    }

    /// Takes marks off until told to stop, and then all that are left.
    pub async fn run(&self, store: &OutboxStore, stop: &CancellationToken) {
        loop {
            let next = self.with(|waiting| waiting.by_age.front().map(|(since, _)| *since + self.moment));
            let pause = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => self.first.notified().await,
                }
            };
            let last = tokio::select! {
                () = stop.cancelled() => true,
                () = pause => false,
            };
            while self.take_off(store, last).await {}
            if last {
                return;
            }
        }
    }

    /// Whether there may be more.
    async fn take_off(&self, store: &OutboxStore, all: bool) -> bool {
        let batch = self.due(all);
        let full = batch.len() == BATCH;
        failpoint("api.unmarking.taken");
        let unmarked = join_all(batch.into_iter().map(|receipt| store.unmark(receipt))).await;
        if let Some(error) = unmarked.into_iter().find_map(Result::err) {
            debug!(error = chain(&error), "outbox marks stay; will be announced again");
        }
        full
    }

    fn due(&self, all: bool) -> Vec<PublishReceipt> {
        let now = Instant::now();
        self.with(|waiting| {
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                let Some((since, job)) = waiting.by_age.front().copied() else { break };
                if !all && since + self.moment > now && waiting.by_age.len() <= MOST {
                    break;
                }
                waiting.by_age.pop_front();
                batch.extend(waiting.by_job.remove(&job));
            }
            batch
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
