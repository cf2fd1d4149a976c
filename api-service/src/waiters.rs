//! Who waits for the end of a job: a map in memory, woken by what the replicas tell each other.

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
    ended: watch::Sender<bool>,
    waiting: usize,
}

/// Interest in one job's end.
#[derive(Debug)]
pub struct Ended {
    waiters: Waiters,
    job: JobId,
    ended: watch::Receiver<bool>,
}

impl Waiters {
    /// Registers interest; what is told from now on is heard.
    #[must_use]
    pub fn ended(&self, job: JobId) -> Ended {
        let ended = self.with(|waiting| {
            let entry =
                waiting.entry(job).or_insert_with(|| Entry { ended: watch::Sender::new(false), waiting: 0 });
            entry.waiting += 1;
            entry.ended.subscribe()
        });
        Ended { waiters: self.clone(), job, ended }
    }

    /// Tells all who wait for these jobs that they have ended.
    pub fn tell_ended<'a>(&self, jobs: impl Iterator<Item = &'a JobId>) {
        self.with(|waiting| {
            if waiting.is_empty() {
                return;
            }
            for job in jobs {
                if let Some(entry) = waiting.get(job) {
                    entry.ended.send_replace(true);
                }
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<JobId, Entry>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ended {
    /// Waits until the job's end is told.
    pub async fn heard(mut self) {
        // The sender lives in the map as long as this entry is counted.
        let _ = self.ended.wait_for(|ended| *ended).await;
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
    async fn an_end_told_between_registering_and_waiting_is_heard() {
        let (waiters, job) = (Waiters::default(), JobId::generate());
        let ended = waiters.ended(job);
        waiters.tell_ended([job].iter());
        ended.heard().await;
        assert!(waiters.with(|waiting| waiting.is_empty()));
    }
}
