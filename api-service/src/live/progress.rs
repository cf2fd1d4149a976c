//! How far attempts are, as this replica hears it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use service_kit::Broker;
use shared_events::{
    JobId, JobProgress, Status,
    live::{AttemptProgress, ProgressReport},
    subjects,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::jobs::Job;

/// The most attempts that are remembered; each has a kilobyte at most.
const MOST: usize = 20_000;

/// How long what was heard last holds: workers say it again every five seconds.
const HOLDS: Duration = Duration::from_secs(30);

/// How far attempts are. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Progresses(Arc<Mutex<HashMap<JobId, Heard>>>);

#[derive(Debug)]
struct Heard {
    progress: AttemptProgress,
    at: Instant,
}

impl Progresses {
    /// How far the job's attempt is that is being made, if it has said so.
    #[must_use]
    pub fn of(&self, job: &Job) -> Option<JobProgress> {
        if job.status != Status::Running {
            return None;
        }
        let heard = self.heard();
        let of_attempt = |told: &&AttemptProgress| (told.run, told.attempt) == (job.run, job.attempt);
        heard
            .get(&job.job_id())
            .map(|heard| &heard.progress)
            .filter(of_attempt)
            .map(|told| told.progress.clone())
    }

    /// Listens until told to stop.
    pub async fn listen(&self, broker: &Broker, stop: &CancellationToken) {
        let mut messages = match broker.nats().client().subscribe(subjects::PROGRESS).await {
            Ok(messages) => messages,
            Err(error) => return warn!(%error, "could not subscribe to progress; none will be shown"),
        };
        let mut forget = tokio::time::interval(HOLDS);
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                _ = forget.tick() => {
                    self.forget(Instant::now());
                    continue;
                }
                message = messages.next() => message,
            };
            let Some(message) = message else { return };
            match serde_json::from_slice::<ProgressReport>(&message.payload) {
                Ok(report) => self.take_in(report, Instant::now()),
                Err(error) => debug!(%error, "a report of progress is not readable"),
            }
        }
    }

    fn take_in(&self, report: ProgressReport, at: Instant) {
        let mut heard = self.heard();
        for progress in report.0 {
            // Those that are there already may go on.
            if heard.len() < MOST || heard.contains_key(&progress.job) {
                heard.insert(progress.job, Heard { progress, at });
            }
        }
    }

    fn forget(&self, now: Instant) {
        self.heard().retain(|_, heard| now.duration_since(heard.at) < HOLDS);
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<JobId, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use shared_events::Timestamp;

    use super::*;

    #[test]
    fn what_is_not_said_again_is_forgotten() {
        let (progresses, job, now) = (Progresses::default(), JobId::generate(), Instant::now());
        let progress = JobProgress::new(5.0, "", Timestamp::from_millis(0));
        let said = AttemptProgress { job, run: 1, attempt: 1, progress };
        progresses.take_in(ProgressReport(vec![said]), now);
        progresses.forget(now + HOLDS / 2);
        assert_eq!(progresses.heard().len(), 1);
        progresses.forget(now + HOLDS);
        assert_eq!(progresses.heard().len(), 0);
    }
}
