//! A job as HTTP answers show it.

use serde::Serialize;
use serde_json::value::RawValue;
use shared_events::{
    AttemptOutcome, AttemptSummary, CancelReason, JobError, JobId, Kind, Priority, Queue, Status, Timestamp,
    WorkerId,
};

use super::{Job, model::timestamp};

/// The JSON of a job. What is not known yet is absent.
#[derive(Debug, Serialize)]
pub(super) struct JobView<'a> {
    id: JobId,
    kind: &'a Kind,
    queue: &'a Queue,
    priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<&'a str>,
    status: Status,
    run: u32,
    attempt: u32,
    timeout_s: u32,
    max_attempts: u32,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    /// While it is queued: what it waits for, where that is not its time alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'a JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CancelReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_requested_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<&'a str>,
}

impl<'a> From<&'a Job> for JobView<'a> {
    fn from(job: &'a Job) -> Self {
        let waits = job.status == Status::Queued;
        Self {
            id: job.job_id(),
            kind: &job.kind,
            queue: &job.queue,
            priority: job.priority,
            object_id: job.object_id.as_deref(),
            status: job.status,
            run: job.run,
            attempt: job.attempt,
            timeout_s: job.timeout_s,
            max_attempts: job.max_attempts,
            created_at: timestamp(job.created_at),
            started_at: job.started_at.map(timestamp),
            next_at: job.next_at.filter(|_| waits).map(timestamp),
            ended_at: job.ended_at.map(timestamp),
            worker: job.worker.as_ref(),
            payload: job.payload.as_deref().and_then(raw),
            result: job.result.as_deref().and_then(raw),
            error: job.error.as_ref(),
            waits_for: job.attempts.last().filter(|_| waits).and_then(waits_for),
            reason: job.reason,
            cancel_requested_at: job.cancel.as_ref().map(|cancel| timestamp(cancel.requested_at)),
            cancel_reason: job.cancel.as_ref().and_then(|cancel| cancel.reason.as_deref()),
        }
    }
}

/// What a run waits for that a worker gave back, uncharged, and said why: such as one with a handler for its kind.
fn waits_for(latest: &AttemptSummary) -> Option<&JobError> {
    latest.error.as_ref().filter(|_| latest.outcome == AttemptOutcome::Released)
}

/// How many attempts are shown.
const ATTEMPTS_SHOWN: usize = 100;

/// The JSON of an attempt; one that goes on has neither end nor outcome.
#[derive(Debug, Serialize)]
pub(super) struct AttemptView<'a> {
    run: u32,
    attempt: u32,
    worker: &'a WorkerId,
    started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<AttemptOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
}

impl<'a> AttemptView<'a> {
    /// The attempts of all runs, the latest last; at most 100. `earlier` has the earlier runs, the
    /// latest first.
    pub(super) fn latest(job: &'a Job, earlier: &'a [Job]) -> Vec<Self> {
        let runs = earlier.iter().rev().chain(std::iter::once(job));
        let ended = runs.flat_map(|run| run.attempts.iter().map(|attempt| Self::ended(run.run, attempt)));
        let mut attempts: Vec<Self> = ended.chain(Self::current(job)).collect();
        let surplus = attempts.len().saturating_sub(ATTEMPTS_SHOWN);
        attempts.drain(..surplus);
        attempts
    }

    fn ended(run: u32, attempt: &'a AttemptSummary) -> Self {
        Self {
            run,
            attempt: attempt.attempt,
            worker: &attempt.worker,
            started_at: attempt.started_at,
            ended_at: Some(attempt.ended_at),
            outcome: Some(attempt.outcome),
            charged: Some(attempt.charged),
            error: attempt.error.as_ref(),
        }
    }

    fn current(job: &'a Job) -> Option<Self> {
        let running = job.status == Status::Running;
        let (worker, started_at) = (job.worker.as_ref().filter(|_| running)?, timestamp(job.started_at?));
        let (run, attempt) = (job.run, job.attempt);
        Some(Self {
            run,
            attempt,
            worker,
            started_at,
            ended_at: None,
            outcome: None,
            charged: None,
            error: None,
        })
    }
}

/// The stored text as it is; it was JSON when it was stored.
fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}
