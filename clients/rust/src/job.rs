//! Jobs and attempts, as the service shows them.

use serde::Deserialize;
use shared_events::{
    AttemptOutcome, CancelReason, JobError, JobId, JsonText, Kind, Priority, Queue, Status, Timestamp,
    WorkerId,
};

/// A job. What is not known yet is absent.
#[derive(Debug, Clone, Deserialize)]
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
    /// When it was created.
    pub created_at: Timestamp,
    /// When its latest attempt started.
    pub started_at: Option<Timestamp>,
    /// While it is queued after an attempt: when the next may start.
    pub next_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Who claimed it last.
    pub worker: Option<WorkerId>,
    /// The handler's input, as it was sent.
    pub payload: Option<JsonText>,
    /// What the handler returned.
    pub result: Option<JsonText>,
    /// Of a failed job: why.
    pub error: Option<JobError>,
    /// While it is queued: what it waits for, where that is not its time alone.
    pub waits_for: Option<JobError>,
    /// Of a cancelled job: why.
    pub reason: Option<CancelReason>,
    /// When a cancel was asked for.
    pub cancel_requested_at: Option<Timestamp>,
    /// The client's words for why.
    pub cancel_reason: Option<String>,
}

/// An attempt; one that goes on has neither end nor outcome.
#[derive(Debug, Clone, Deserialize)]
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
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// Whether it counts towards `max_attempts`.
    pub charged: Option<bool>,
    /// What went wrong.
    pub error: Option<JobError>,
}
