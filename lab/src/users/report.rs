//! What came of a run.

use std::fmt;
use std::time::Duration;

use super::record::{Kind, Record, Requests};

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    rows: Vec<(Kind, Requests)>,
    /// How many users were acknowledged, and are there as they were acknowledged last.
    pub kept: usize,
    /// How many are not.
    pub lost: usize,
    /// How many jobs were acknowledged and finished.
    pub jobs_finished: usize,
    /// What else was not as it was promised.
    pub wrong: Vec<String>,
}

impl Report {
    pub(super) fn of(record: &Record, kept: usize, lost: usize, jobs_finished: usize) -> Self {
        let (requests, wrong) = record.taken();
        Self { rows: requests.into_iter().collect(), kept, lost, jobs_finished, wrong }
    }

    /// The longest time in which no user was read.
    #[must_use]
    pub fn longest_pause_of_reads(&self) -> Duration {
        self.longest_pause(&[Kind::Read])
    }

    /// The longest time in which no user was created, or none changed.
    #[must_use]
    pub fn longest_pause_of_writes(&self) -> Duration {
        self.longest_pause(&[Kind::Create, Kind::Change])
    }

    /// How many requests were done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.rows.iter().map(|(_, requests)| requests.done).sum()
    }

    /// Reads of users who are there that were not answered with them.
    #[must_use]
    pub fn failed_reads(&self) -> u64 {
        let reads = self.rows.iter().filter(|(kind, _)| *kind == Kind::Read);
        reads.flat_map(|(_, requests)| requests.failed.values()).sum()
    }

    fn longest_pause(&self, kinds: &[Kind]) -> Duration {
        let of = self.rows.iter().filter(|(kind, _)| kinds.contains(kind));
        of.map(|(_, requests)| requests.pause.0).max().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |duration: &Duration| format!("{:.2} s", duration.as_secs_f64());
        let when = |(duration, phase): &(Duration, String)| format!("{} ({phase})", seconds(duration));
        for (kind, Requests { done, failed, pause, slowest, undisturbed, .. }) in &self.rows {
            let all: Vec<String> = failed.iter().map(|(why, times)| format!("{times} × {why}")).collect();
            let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            writeln!(f, "{}: {done} done; failed: {all}", kind.name())?;
            writeln!(f, "    longest pause {}, {} while none was away", when(pause), seconds(undisturbed))?;
            writeln!(f, "    slowest {}", when(slowest))?;
        }
        let Self { kept, lost, jobs_finished, wrong, .. } = self;
        writeln!(f, "users acknowledged: {kept} kept, {lost} lost; jobs finished: {jobs_finished}")?;
        wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}
