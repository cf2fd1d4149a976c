//! Jobs and attempts, as the service shows them.

use serde::{Deserialize, Serialize};
use shared_events::{
    AttemptOutcome, CancelReason, JobError, JobId, JsonText, Kind, Priority, Queue, RetryPauses, Status,
    Timestamp, WorkerId,
};

/// A job. What is not known yet is absent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who does the work.
    pub kind: Kind,
    /// Where it was sent.
    pub queue: Queue,
    /// How urgent it is.
    pub priority: Priority,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// Where its latest run stands.
    pub status: Status,
    /// Which life of the job, from 1.
    pub run: u32,
    /// Which claim of the run is the latest, 0 before the first.
    pub attempt: u32,
    /// How long one attempt may take, in seconds.
    pub timeout_s: u32,
    /// How many attempts may count.
    pub max_attempts: u32,
    /// How long it is kept after its end, in seconds, where it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<u32>,
    /// How long it waits between attempts, where it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPauses>,
    /// When it was to run, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Within how many seconds an attempt of a run is to begin, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_s: Option<u32>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its latest attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// While it is queued after an attempt: when the next may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Who claimed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The handler's input, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonText>,
    /// What the handler returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonText>,
    /// Of a failed job: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// While it is queued: what it waits for, where that is not its time alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<JobError>,
    /// Of a cancelled job: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// When a cancel was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// The client's words for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
}

/// An attempt; one that goes on has neither end nor outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// Which run it is of.
    pub run: u32,
    /// Which attempt of that run.
    pub attempt: u32,
    /// Who claimed it.
    pub worker: WorkerId,
    /// When.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// Whether it counts towards `max_attempts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charged: Option<bool>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}
