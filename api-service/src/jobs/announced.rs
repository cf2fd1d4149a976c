//! Where the broker has what was announced of a job.

use bson::DateTime;
use serde::{Deserialize, Serialize};

/// Where the broker has stored an announcement, or a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The streams' generations then.
    pub generations: Generations,
    /// Its sequence in `JOBS`; 0 where it went to `JOB_CONTROL`.
    pub sequence: i64,
    /// When the broker said so.
    pub at: DateTime,
}

/// How often the store of each stream was lost or set back, plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// Of `JOBS`, which holds the announcements.
    pub jobs: i64,
    /// Of `JOB_EVENTS`, by which the end will come.
    pub events: i64,
    /// Of `JOB_CONTROL`, which holds the cancels.
    pub control: i64,
}

impl Generations {
    /// Whether all of them are known: not before a replica's first look at the streams.
    #[must_use]
    pub const fn are_known(&self) -> bool {
        self.jobs > 0 && self.events > 0 && self.control > 0
    }
}
