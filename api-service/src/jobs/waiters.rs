//! Who waits for the end of a job: a map in memory, woken by the replicas' broadcasts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared_events::JobId;
use tokio::sync::watch;

/// See the module. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Waiters(Arc<Mutex<HashMap<JobId, Entry>>>);

#[derive(Debug)]
struct Entry {
    /// The latest run that is known to have ended; 0 before one is.
    ended: watch::Sender<u32>,
    waiting: usize,
}

/// Interest in one job's end.
#[derive(Debug)]
pub struct Ended {
    waiters: Waiters,
    job: JobId,
    ended: watch::Receiver<u32>,
}

impl Waiters {
    /// Registers interest: ends from now on are noticed.
    #[must_use]
    pub fn ended(&self, job: JobId) -> Ended {
        let ended = self.with(|waiting| {
            let entry =
                waiting.entry(job).or_insert_with(|| Entry { ended: watch::Sender::new(0), waiting: 0 });
            entry.waiting += 1;
            entry.ended.subscribe()
        });
        Ended { waiters: self.clone(), job, ended }
    }

    /// Wakes all who wait for these jobs: these runs of theirs have ended.
    pub fn wake(&self, runs: impl Iterator<Item = (JobId, u32)>) {
        self.with(|waiting| {
            if waiting.is_empty() {
                return;
            }
            for (job, run) in runs {
                if let Some(entry) = waiting.get(&job) {
                    entry.ended.send_if_modified(|ended| {
                        let is_later = run > *ended;
                        *ended = run.max(*ended);
                        is_later
                    });
                }
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<JobId, Entry>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ended {
    /// Waits until this run's end, or a later one's, is known: an event of an earlier run may come again at any time.
    pub async fn of_run(&mut self, run: u32) {
        // The sender lives in the map as long as this entry is counted.
        let _ = self.ended.wait_for(|ended| *ended >= run).await;
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.waiters.with(|waiting| {
            if let Some(entry) = waiting.get_mut(&self.job) {
                entry.waiting -= 1;
                if entry.waiting == 0 {
                    waiting.remove(&self.job);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_between_registering_and_waiting_is_noticed() {
        let (waiters, job) = (Waiters::default(), JobId::generate());
        let mut ended = waiters.ended(job);
        waiters.wake([(job, 1)].into_iter());
        ended.of_run(1).await;
        drop(ended);
        assert!(waiters.with(|waiting| waiting.is_empty()));
    }

    #[tokio::test]
    async fn the_end_of_an_earlier_run_is_not_the_end_of_this_one() {
        let (waiters, job) = (Waiters::default(), JobId::generate());
        let mut ended = waiters.ended(job);
        waiters.wake([(job, 1)].into_iter());
        assert!(futures::poll!(std::pin::pin!(ended.of_run(2))).is_pending());
        waiters.wake([(job, 3), (job, 1)].into_iter());
        assert!(futures::poll!(std::pin::pin!(ended.of_run(2))).is_ready());
    }
}
