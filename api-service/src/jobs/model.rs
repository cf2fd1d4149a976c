//! A job as the api-service keeps it.

use bson::{DateTime, Uuid};
use serde::{Deserialize, Serialize};
use shared_events::{
    AttemptSummary, CancelReason, JobCancel, JobCreated, JobError, JobId, JsonText, Kind, Limits, Position,
    Priority, Queue, RetryPauses, Status, Timestamp, TraceContext, WorkerId,
};

use super::{Announced, NextAction, OfSchedule};

/// A job's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The job's id: a UUID v7, so that the primary index sorts by time of creation.
    #[serde(rename = "_id")]
    pub id: Uuid,
    /// Who does the work.
    pub kind: Kind,
    /// Where it waits.
    pub queue: Queue,
    /// How urgent it is.
    pub priority: Priority,
    /// The handler's input, as its original text; none where the document was read without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// What the job is about, in the client's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// The `object_id` for as long as this job may refuse another for it. Unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// The client's `Idempotency-Key`, for as long as it is remembered. Unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// SHA-256 of what was asked for under that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_hash: Option<String>,
    /// How long an attempt may take, in seconds.
    pub timeout_s: u32,
    /// How many attempts may be charged.
    pub max_attempts: u32,
    /// How long it is kept after its end, in seconds; as long as any other where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<u32>,
    /// How long it waits between attempts; as the worker has it where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPauses>,
    /// When it was to run, where the client said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<DateTime>,
    /// Within how many seconds an attempt of a run is to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_within_s: Option<u32>,
    /// How often it was changed while it was scheduled; a change compares it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: i64,
    /// The schedule that created it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<OfSchedule>,
    /// Up to which run it was another system's, where it was taken in from there: the ledger need not know those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<u32>,
    /// When it was created.
    pub created_at: DateTime,
    /// The trace of the request that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// Which of its runs is the latest, from 1.
    pub run: u32,
    /// That run's latest attempt; 0 before the first.
    pub attempt: u32,
    /// That run's state.
    pub status: Status,
    /// (attempt, rank) of the latest event as one number that grows; see `position`.
    pub position: i64,
    /// Who claimed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// When the latest attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime>,
    /// When the next attempt may start; means something only while queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime>,
    /// What the handler answered, as its original text; of a run that did not finish what it had by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The same of the latest attempt that had something and after which the run went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What went wrong, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// The run's attempts that ended, the latest last; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptSummary>,
    /// When the run is to end unless an attempt has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_by: Option<DateTime>,
    /// The same, for as long as that has to be looked at. Has an index of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<DateTime>,
    /// When the ledger was asked to end it for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_asked_at: Option<DateTime>,
    /// The client's request to have the run stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    /// Numbers the announcements of the run, from 1; 0 as long as it is scheduled, and where it ended so.
    pub epoch: u32,
    /// The latest announcement that the broker has stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// The generation of `JOBS` that lacks its announcement, where it has to be announced again for that: only a
    /// replica that knows of this generation may do so, or it would take the new store for the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_generation: Option<i64>,
    /// What has to be done with this document at `next_action_at`, whichever replica does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action: Option<NextAction>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action_at: Option<DateTime>,
}

/// The fields that make a document large. Who needs them not, reads it without them, and writes no such document back.
pub(crate) const LARGE: &[&str] = &["payload", "result", "output", "attempts"];

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A client's request to have a run stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// When it was asked for.
    pub requested_at: DateTime,
    /// The client's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A position's attempt and rank as one number, so that one comparison in a filter says whether
/// an event is above what is stored.
#[must_use]
pub(crate) fn position(position: Position) -> i64 {
    i64::from(position.attempt) * 4 + i64::from(position.status.rank())
}

impl Job {
    /// The job's id.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        job_id(self.id)
    }

    /// What announces the latest run; none where the payload was not read, or is not what was stored.
    #[must_use]
    pub fn announcement(&self) -> Option<JobCreated> {
        Some(JobCreated {
            job: self.job_id(),
            run: self.run,
            epoch: self.epoch,
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            priority: self.priority,
            payload: JsonText::from_stored(self.payload.clone()?).ok()?,
            limits: Limits { timeout_s: self.timeout_s, max_attempts: self.max_attempts },
            cancel_requested: self.cancel.is_some(),
            created_at: timestamp(self.created_at),
            start_by: self.start_by.map(timestamp),
            retry: self.retry,
        })
    }

    /// What passes on that the latest run is to end: because a client wants it to, or because it has not started in time.
    #[must_use]
    pub fn cancel_event(&self) -> JobCancel {
        JobCancel {
            job: self.job_id(),
            run: self.run,
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            reason: match (&self.cancel, self.expiry_asked_at) {
                (None, Some(_)) => CancelReason::Expired,
                _ => CancelReason::Requested,
            },
        }
    }
}

/// A job id as a document keeps it.
#[must_use]
pub(crate) fn stored_id(id: JobId) -> Uuid {
    Uuid::from_bytes(id.uuid().into_bytes())
}

/// A stored job id as it is written.
#[must_use]
pub(crate) fn job_id(id: Uuid) -> JobId {
    JobId::from(uuid::Uuid::from_bytes(id.bytes()))
}

/// When a job with this id was created: its id has that time.
#[must_use]
pub(crate) fn created_at(id: Uuid) -> Timestamp {
    let millis = id.bytes()[..6].iter().fold(0_i64, |millis, byte| millis << 8 | i64::from(*byte));
    Timestamp::from_millis(millis)
}

/// A date as events and answers write it.
#[must_use]
pub(crate) fn timestamp(date: DateTime) -> Timestamp {
    Timestamp::from_millis(date.timestamp_millis())
}

/// A date as documents keep it.
#[must_use]
pub(crate) fn date(timestamp: Timestamp) -> DateTime {
    DateTime::from_millis(timestamp.millis())
}

#[cfg(test)]
mod tests;
