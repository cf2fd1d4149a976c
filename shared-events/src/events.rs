//! What the services tell each other.
//!
//! Fields are only ever added, and new ones are optional: old events decode for ever
//! (`tests/golden.rs`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    DecodeError, Envelope, JobId, JsonText, Kind, Position, Priority, Queue, RunId, Status, Timestamp,
    TraceContext, WorkerId, envelope::SpecVersion,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout_s: 46, max_attempts: 5 }
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
    /// What the handler answered, where it finished.
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

/// `job:cancel`: the client wants a run stopped.
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

/// One attempt that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// The claim's number.
    pub attempt: u32,
    /// Who claimed it.
    pub worker: WorkerId,
    /// When.
    pub started_at: Timestamp,
    /// When it ended; of a lost lease, when that was noticed.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Whether it counts towards `max_attempts`.
    pub charged: bool,
    /// What went wrong, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The handler said done.
    Finished,
    /// The handler failed, panicked, or is not known here.
    Failed,
    /// It was stopped: asked for, or over its time.
    Cancelled,
    /// The worker gave it back: it was shutting down.
    Released,
    /// The worker let its lease run out.
    Lost,
}

/// The largest event, in bytes: an end with a result of [`crate::json_text::MAX_JSON_BYTES`] and a hundred attempts whose
/// errors are as long as they may be. It stays below what NATS takes by default (`max_payload`, 1 MiB).
pub const MAX_EVENT_BYTES: usize = 1_000_000;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// For programs: `panic`, `unknown_kind`, `lease_lost`, or the handler's own; at most
    /// [`JobError::MAX_CODE_BYTES`] bytes.
    pub code: String,
    /// For people; at most [`JobError::MAX_MESSAGE_BYTES`] bytes.
    pub message: String,
}

impl JobError {
    /// The longest code, in bytes as JSON writes it; more is cut off.
    pub const MAX_CODE_BYTES: usize = 128;

    /// The longest message, in bytes as JSON writes it, where a control character takes six; more is cut off, and the
    /// message then ends in `… (cut)`.
    pub const MAX_MESSAGE_BYTES: usize = 4096;

    /// An error, [within its limits](Self::within_limits).
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }.within_limits()
    }

    /// The same error, cut at a character's end where it is too long.
    #[must_use]
    pub fn within_limits(self) -> Self {
        Self {
            code: cut(self.code, Self::MAX_CODE_BYTES, ""),
            message: cut(self.message, Self::MAX_MESSAGE_BYTES, "… (cut)"),
        }
    }
}

/// The text, if JSON writes it in at most `most` bytes; else as much of it as fits, and `mark`.
fn cut(mut text: String, most: usize, mark: &str) -> String {
    if encoded_len(&text) <= most {
        return text;
    }
    let mut left = most.saturating_sub(encoded_len(mark));
    let end = text.char_indices().find(|(_, character)| match left.checked_sub(encoded(*character)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    text.truncate(end.map_or(text.len(), |(at, _)| at));
    text.push_str(mark);
    text
}

/// How many bytes JSON takes for the text between its quotes.
fn encoded_len(text: &str) -> usize {
    text.chars().map(encoded).sum()
}

fn encoded(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// Why a run was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The client asked for it.
    Requested,
    /// An attempt took longer than `timeout_s`.
    Timeout,
}

impl CancelReason {
    /// The reason as it is written in JSON and BSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Timeout => "timeout",
        }
    }
}

/// What the job-service says about runs, in `JOB_EVENTS`.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// An attempt began.
    Started(JobStarted),
    /// An attempt ended, the run goes on.
    Retrying(JobRetrying),
    /// The run ended: the status is a terminal one.
    Ended(Status, JobEnded),
}

impl JobEvent {
    /// The run that it is about.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        match self {
            Self::Started(JobStarted { job, run, .. })
            | Self::Retrying(JobRetrying { job, run, .. })
            | Self::Ended(_, JobEnded { job, run, .. }) => job.run(*run),
        }
    }

    /// Where the run stands by this news.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Started(started) => {
                Position { run: started.run, attempt: started.attempt, status: Status::Running }
            }
            Self::Retrying(retrying) => {
                Position { run: retrying.run, attempt: retrying.attempt + 1, status: Status::Queued }
            }
            Self::Ended(status, ended) => {
                Position { run: ended.run, attempt: ended.attempt, status: *status }
            }
        }
    }

    /// The event's name.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Started(_) => "job:started",
            Self::Retrying(_) => "job:retrying",
            Self::Ended(Status::Failed, _) => "job:failed",
            Self::Ended(Status::Cancelled, _) => "job:cancelled",
            Self::Ended(..) => "job:finished",
        }
    }

    /// The event as bytes to publish. Its id is `<run id>:<attempt>:<what happened>`.
    ///
    /// # Errors
    /// See [`Envelope::encode`].
    pub fn encode(
        &self,
        time: Timestamp,
        trace: Option<TraceContext>,
    ) -> Result<bytes::Bytes, serde_json::Error> {
        let run_id = self.run_id();
        let (event_type, attempt) = (self.event_type(), self.attempt());
        let happened = event_type.trim_start_matches("job:");
        let id = format!("{run_id}:{attempt}:{happened}");
        match self {
            Self::Started(data) => {
                envelope(id, JOB_SERVICE, event_type, run_id.job, time, trace, data).encode()
            }
            Self::Retrying(data) => {
                envelope(id, JOB_SERVICE, event_type, run_id.job, time, trace, data).encode()
            }
            Self::Ended(_, data) => {
                envelope(id, JOB_SERVICE, event_type, run_id.job, time, trace, data).encode()
            }
        }
    }

    /// Reads an event of `JOB_EVENTS`; a message may hold several, see [`crate::batch`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Envelope<Self>, DecodeError> {
        let raw = Envelope::open(bytes)?;
        match raw.event_type.as_str() {
            "job:started" => raw.read().map(|event| event.map(Self::Started)),
            "job:retrying" => raw.read().map(|event| event.map(Self::Retrying)),
            "job:finished" => raw.read().map(|event| event.map(|data| Self::Ended(Status::Finished, data))),
            "job:failed" => raw.read().map(|event| event.map(|data| Self::Ended(Status::Failed, data))),
            "job:cancelled" => raw.read().map(|event| event.map(|data| Self::Ended(Status::Cancelled, data))),
            other => Err(DecodeError::UnknownType(other.to_owned())),
        }
    }

    const fn attempt(&self) -> u32 {
        match self {
            Self::Started(data) => data.attempt,
            Self::Retrying(data) => data.attempt,
            Self::Ended(_, data) => data.attempt,
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

    /// Whether a message with these headers announces this run.
    #[must_use]
    pub fn is_about(headers: &async_nats::HeaderMap, run: RunId) -> bool {
        let id = headers.get(async_nats::header::NATS_MESSAGE_ID).map(async_nats::HeaderValue::as_str);
        id.and_then(|id| id.rsplit_once(':')).is_some_and(|(announced, _)| announced == run.to_string())
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
        let id = format!("{}:cancel", self.run_id());
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

fn envelope<'a, T>(
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
    fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Envelope<U> {
        let Self { specversion, id, source, event_type, subject, time, traceparent, data } = self;
        Envelope { specversion, id, source, event_type, subject, time, traceparent, data: wrap(data) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json_text::MAX_JSON_BYTES;

    /// The longest error, all of it in need of escaping.
    fn longest() -> JobError {
        JobError::new("\u{1}".repeat(5000), "\u{1}".repeat(1 << 20))
    }

    #[test]
    fn the_largest_events_are_within_what_the_broker_takes() {
        let (job, at) = (JobId::generate(), Timestamp::from_millis(1_800_000_000_123));
        let worker = WorkerId::from(format!("{}-4194304-deadbeef", "h".repeat(64)));
        let attempt = |attempt| AttemptSummary {
            attempt,
            worker: worker.clone(),
            started_at: at,
            ended_at: at,
            outcome: AttemptOutcome::Cancelled,
            charged: false,
            error: Some(longest()),
        };
        let attempts: Vec<AttemptSummary> = (u32::MAX - 99..=u32::MAX).map(attempt).collect();
        let result = JsonText::from_stored(format!("\"{}\"", "x".repeat(MAX_JSON_BYTES - 2))).ok();
        let ended = JobEvent::Ended(
            Status::Cancelled,
            JobEnded {
                job,
                run: u32::MAX,
                attempt: u32::MAX,
                started_at: Some(at),
                ended_at: at,
                result,
                error: Some(longest()),
                reason: Some(CancelReason::Requested),
                attempts,
            },
        );
        let trace = Some(TraceContext::start());
        let bytes = ended.encode(at, trace).unwrap();
        assert!((900_000..MAX_EVENT_BYTES).contains(&bytes.len()), "{}", bytes.len());

        let name = "n".repeat(crate::names::MAX_NAME_LEN);
        let payload =
            JsonText::from_stored(format!("{{\"p\":\"{}\"}}", "x".repeat(MAX_JSON_BYTES - 8))).unwrap();
        assert_eq!(payload.as_str().len(), MAX_JSON_BYTES);
        let created = JobCreated {
            job,
            run: u32::MAX,
            epoch: u32::MAX,
            kind: name.parse().unwrap(),
            queue: name.parse().unwrap(),
            priority: Priority::Normal,
            payload,
            limits: Limits { timeout_s: Limits::MAX_TIMEOUT_S, max_attempts: Limits::MAX_ATTEMPTS },
            cancel_requested: true,
            created_at: at,
        };
        assert!(created.encode(at, trace).unwrap().len() < MAX_EVENT_BYTES);
    }

    #[test]
    fn what_is_cut_says_so_and_is_not_cut_again() {
        let error = JobError::new("code", "x".repeat(5000));
        assert!(error.message.ends_with("x… (cut)") && error.message.len() == JobError::MAX_MESSAGE_BYTES);
        assert_eq!(error.clone().within_limits(), error);
        assert_eq!(JobError::new("code", "x".repeat(4096)).message, "x".repeat(4096));
    }

    proptest! {
        #[test]
        fn an_error_is_within_its_limits_as_json_writes_it(message in "[\\x00-\\x7f\u{80}-\u{10ffff}]{0,300}", times in 1_usize..40) {
            let message = message.repeat(times);
            let error = JobError::new("code", message.clone());
            let written = serde_json::to_string(&error.message).unwrap().len() - 2;
            prop_assert!(written <= JobError::MAX_MESSAGE_BYTES);
            prop_assert_eq!(written, encoded_len(&error.message));
            let kept = error.message.strip_suffix("… (cut)").unwrap_or(&error.message);
            prop_assert!(message.starts_with(kept));
        }
    }
}
