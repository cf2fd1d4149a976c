//! A worker, as a client reads it.

use serde::Deserialize;
use time::{OffsetDateTime, serde::rfc3339};

/// The JSON of `GET /v1/workers`.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkerList {
    /// The workers.
    pub workers: Vec<WorkerView>,
    /// Of when that is.
    #[serde(with = "rfc3339")]
    pub as_of: OffsetDateTime,
    /// How long ago that is, in seconds.
    pub age_s: f64,
}

/// The JSON of a worker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API's documentation")]
pub struct WorkerView {
    pub id: String,
    pub host: String,
    pub version: String,
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    pub queues: Vec<String>,
    pub kinds: Vec<String>,
    pub slots: u32,
    pub slots_used: u32,
    pub kind_slots: serde_json::Value,
    pub attempts_per_minute: u64,
    #[serde(with = "rfc3339")]
    pub last_seen: OffsetDateTime,
    pub state: String,
}

impl WorkerView {
    /// Whether it is the process with this id.
    #[must_use]
    pub fn is(&self, pid: u32) -> bool {
        // A worker is called `<host>-<pid>-<random>`.
        self.id.rsplit('-').nth(1) == Some(&pid.to_string())
    }
}
