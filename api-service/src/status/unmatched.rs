//! Events about no job that is there: they are counted, and logged now and then, so that however many come, they fill
//! neither a disk nor a log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use shared_events::JobId;
use tracing::{info, warn};

/// At most one line of each sort in so long a time.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// How many events there were; shared by reference.
#[derive(Debug, Default)]
pub struct UnmatchedEvents(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    gone: Count,
    unknown: Count,
}

#[derive(Debug, Default)]
struct Count {
    all: u64,
    logged_at: Option<Instant>,
}

impl Count {
    /// Counts; says how many there have been in all where that is to be logged.
    fn add(&mut self, more: u64, now: Instant) -> Option<u64> {
        self.all += more;
        let is_due = self.logged_at.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_LINES);
        let is_logged = more > 0 && is_due;
        if is_logged {
            self.logged_at = Some(now);
        }
        is_logged.then_some(self.all)
    }
}

impl UnmatchedEvents {
    /// Counts events about jobs that are gone, and about jobs that were never here.
    pub fn add(&self, gone: u64, unknown: &[JobId]) {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = counts.gone.add(gone, now) {
            info!(since_start = all, "events about jobs that are gone; nothing changes");
        }
        if let Some(all) = counts.unknown.add(unknown.len() as u64, now) {
            let job = unknown.first().map(ToString::to_string);
            warn!(job.id = job, since_start = all, "events about jobs that were never here; nothing changes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_line_a_minute_at_most_and_it_tells_of_all() {
        let (mut count, start) = (Count::default(), Instant::now());
        assert_eq!(count.add(0, start), None);
        assert_eq!(count.add(2, start), Some(2));
        assert_eq!(count.add(3, start), None);
        let later = start + BETWEEN_LINES;
        assert_eq!(count.add(0, later), None);
        assert_eq!(count.add(1, later), Some(6));
    }
}
