//! What the services tell each other.
//!
//! Fields are only ever added, and new ones are optional: old events decode for ever
//! (`tests/fixtures.rs`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    AttemptSummary, DecodeError, Envelope, JobError, JobId, JsonText, Kind, Priority, Queue, RetryPauses,
    RunId, Timestamp, TraceContext, WorkerId, envelope::SpecVersion,
};

/// `source` of what the api-service publishes.
pub const API_SERVICE: &str = "/hasty/api-service";
/// `source` of what the job-service publishes.
pub const JOB_SERVICE: &str = "/hasty/job-service";

/// The limits of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long one attempt may take from its handler's start, in seconds; 1 to 86,400.
    pub timeout_s: u32,
    /// How many attempts may be charged; 1 to 100.
    pub max_attempts: u32,
}

impl Limits {
    /// The most seconds an attempt may take.
    pub const MAX_TIMEOUT_S: u32 = 86_400;
    /// The most attempts a run may be charged.
    pub const MAX_ATTEMPTS: u32 = 100;
    /// What a run has that nobody set limits for.
    pub const DEFAULT: Self = Self { timeout_s: 46, max_attempts: 5 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// `job:created`: a run waits for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCreated {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// Which announcement of this run it is, from 1.
    pub epoch: u32,
    /// Who does the work.
    pub kind: Kind,
    /// Where it waits.
    pub queue: Queue,
    /// How urgent it is.
    pub priority: Priority,
    /// The handler's input: an object of at most 512 KiB.
    pub payload: JsonText,
    /// The run's limits.
    pub limits: Limits,
    /// Whether a cancel was asked for before this announcement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// When the client created the job.
    pub created_at: Timestamp,
    /// From when on no attempt of this run may begin that would be its first: it ends as cancelled instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<Timestamp>,
    /// How long to wait between attempts; the worker's own policy where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPauses>,
}

/// `job:started`: a worker has claimed a run. Told while the attempt goes on; an attempt that ends
/// within a moment is told by its end alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStarted {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// The claim's number.
    pub attempt: u32,
    /// Who claimed it.
    pub worker: WorkerId,
    /// When.
    pub started_at: Timestamp,
}

/// `job:retrying`: an attempt ended, the run did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRetrying {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// The attempt that ended.
    pub attempt: u32,
    /// When the next one may start.
    pub next_at: Timestamp,
    /// What its handler gave all the same, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JsonText>,
    /// The run's attempts so far, the latest last; at most 100.
    pub attempts: Vec<AttemptSummary>,
}

/// `job:finished`, `job:failed` or `job:cancelled`: a run ended, for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEnded {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// The latest attempt; 0 where it ended before the first.
    pub attempt: u32,
    /// When the latest attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the run ended.
    pub ended_at: Timestamp,
    /// What the handler answered, where it finished; else what it gave all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonText>,
    /// What went wrong, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Why it was cancelled, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// The run's attempts, the latest last; at most 100.
    pub attempts: Vec<AttemptSummary>,
}

/// `job:cancel`: the client wants a run stopped, or, with the reason `expired`, it is to end unless an attempt has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCancel {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// What the tombstone needs to know, where the ledger has not heard of the run.
    pub kind: Kind,
    /// The job's queue.
    pub queue: Queue,
    /// Why.
    pub reason: CancelReason,
}

/// The largest event, in bytes: an end with a result of [`crate::json_text::MAX_JSON_BYTES`] and a hundred attempts whose
/// errors are as long as they may be. Of the attempts' outputs the latest are told that fit. It stays below what NATS takes by default (`max_payload`, 1 MiB).
pub const MAX_EVENT_BYTES: usize = 1_000_000;

/// Why a run was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The client asked for it.
    Requested,
    /// An attempt took longer than `timeout_s`.
    Timeout,
    /// No attempt has begun within `start_within_s`.
    Expired,
}

impl CancelReason {
    /// The reason as it is written in JSON and BSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Timeout => "timeout",
            Self::Expired => "expired",
        }
    }
}

impl JobCreated {
    /// The event's name.
    pub const TYPE: &'static str = "job:created";

    /// The run that it announces.
    #[must_use]
    pub const fn run_id(&self) -> RunId {
        self.job.run(self.run)
    }

    /// The event's id and its `Nats-Msg-Id`: `<run id>:<epoch>`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}:{}", self.run_id(), self.epoch)
    }

    /// Whether a message with this `Nats-Msg-Id` announces this run.
    #[must_use]
    pub fn is_announcement_of(message_id: &str, run: RunId) -> bool {
        message_id.rsplit_once(':').is_some_and(|(announced, _)| announced == run.to_string())
    }

    /// The event as bytes to publish.
    ///
    /// # Errors
    /// See [`Envelope::encode`].
    pub fn encode(
        &self,
        time: Timestamp,
        trace: Option<TraceContext>,
    ) -> Result<bytes::Bytes, serde_json::Error> {
        envelope(self.id(), API_SERVICE, Self::TYPE, self.job, time, trace, self).encode()
    }

    /// Reads an event of `JOBS`; a message may hold several, see [`crate::batch`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Envelope<Self>, DecodeError> {
        typed(Envelope::open(bytes)?, Self::TYPE)?.read()
    }
}

impl JobCancel {
    /// The event's name.
    pub const TYPE: &'static str = "job:cancel";

    /// The run that is to stop.
    #[must_use]
    pub const fn run_id(&self) -> RunId {
        self.job.run(self.run)
    }

    /// The event as bytes to publish.
    ///
    /// # Errors
    /// See [`Envelope::encode`].
    pub fn encode(
        &self,
        time: Timestamp,
        trace: Option<TraceContext>,
    ) -> Result<bytes::Bytes, serde_json::Error> {
        let id = match self.reason {
            CancelReason::Expired => format!("{}:expire", self.run_id()),
            CancelReason::Requested | CancelReason::Timeout => format!("{}:cancel", self.run_id()),
        };
        envelope(id, API_SERVICE, Self::TYPE, self.job, time, trace, self).encode()
    }

    /// Reads an event of `JOB_CONTROL`; a message may hold several, see [`crate::batch`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Envelope<Self>, DecodeError> {
        typed(Envelope::open(bytes)?, Self::TYPE)?.read()
    }
}

fn typed<'a>(raw: Envelope<&'a RawValue>, expected: &str) -> Result<Envelope<&'a RawValue>, DecodeError> {
    if raw.event_type == expected { Ok(raw) } else { Err(DecodeError::UnknownType(raw.event_type)) }
}

pub(crate) fn envelope<'a, T>(
    id: String,
    source: &str,
    event_type: &str,
    subject: JobId,
    time: Timestamp,
    traceparent: Option<TraceContext>,
    data: &'a T,
) -> Envelope<&'a T> {
    let (source, event_type) = (source.to_owned(), event_type.to_owned());
    Envelope { specversion: SpecVersion::V1, id, source, event_type, subject, time, traceparent, data }
}

impl<T> Envelope<T> {
    pub(crate) fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Envelope<U> {
        let Self { specversion, id, source, event_type, subject, time, traceparent, data } = self;
        Envelope { specversion, id, source, event_type, subject, time, traceparent, data: wrap(data) }
    }
}

#[cfg(test)]
mod tests;
