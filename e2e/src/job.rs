//! A job, as a client reads it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use time::{OffsetDateTime, serde::rfc3339};

/// The JSON of a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API's documentation")]
pub struct JobView {
    pub id: String,
    pub kind: String,
    pub queue: String,
    pub priority: String,
    pub object_id: Option<String>,
    pub status: Status,
    pub run: u32,
    pub attempt: u32,
    pub timeout_s: u32,
    pub max_attempts: u32,
    pub keep_s: Option<u32>,
    pub retry: Option<Value>,
    #[serde(default, with = "rfc3339::option")]
    pub run_at: Option<OffsetDateTime>,
    pub start_within_s: Option<u32>,
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(default, with = "rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(default, with = "rfc3339::option")]
    pub next_at: Option<OffsetDateTime>,
    #[serde(default, with = "rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    pub worker: Option<String>,
    /// Absent in lists that do not ask for it.
    pub payload: Option<Value>,
    pub result: Option<Value>,
    pub error: Option<JobError>,
    pub waits_for: Option<JobError>,
    pub reason: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the states are those of the API's documentation")]
pub enum Status {
    Scheduled,
    Queued,
    Running,
    Finished,
    Failed,
    Cancelled,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobError {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Status {
    /// Whether it will never change.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

impl JobView {
    /// The code of its error.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.code.as_str())
    }

    /// How long after `instant` its latest attempt started; nothing where it was before.
    ///
    /// # Panics
    /// Where none has started.
    #[track_caller]
    #[must_use]
    pub fn started_after(&self, instant: OffsetDateTime) -> Option<Duration> {
        let started = self.started_at.unwrap_or_else(|| panic!("no attempt has started: {self:?}"));
        Duration::try_from(started - instant).ok()
    }

    /// Whether the process with this id did the latest attempt.
    #[must_use]
    pub fn is_by(&self, pid: u32) -> bool {
        // A worker is called `<host>-<pid>-<random>`.
        self.worker.as_ref().and_then(|worker| worker.rsplit('-').nth(1)) == Some(&pid.to_string())
    }
}
