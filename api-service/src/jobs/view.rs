//! A job as HTTP answers show it.

use serde::Serialize;
use serde_json::value::RawValue;
use shared_events::{CancelReason, JobError, JobId, Kind, Priority, Queue, Status, Timestamp, WorkerId};

use super::{Job, document::timestamp};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CancelReason>,
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
            payload: raw(&job.payload),
            result: job.result.as_deref().and_then(raw),
            error: job.error.as_ref(),
            reason: job.reason,
        }
    }
}

/// The stored text as it is; it was JSON when it was stored.
fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}
