//! A job as HTTP answers show it.

use serde::Serialize;
use serde_json::value::RawValue;
use shared_events::{
    AttemptOutcome, AttemptSummary, CancelReason, JobError, JobId, JobProgress, Kind, Priority,
    ProgramOutput, Queue, RetryPauses, ShortOutput, Status, Timestamp, WorkerId,
};
use utoipa::ToSchema;

use super::{Job, model::timestamp, timing::Retry};

/// A job. What is not known yet is absent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(super) struct JobView<'a> {
    /// Its id, a UUID v7.
    id: JobId,
    /// Who does the work.
    kind: &'a Kind,
    /// Where it was sent.
    queue: &'a Queue,
    /// How urgent it is.
    priority: Priority,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<&'a str>,
    /// Where its latest run stands.
    status: Status,
    /// Which life of the job, from 1; a retry of a job that has ended starts the next.
    #[schema(minimum = 1)]
    run: u32,
    /// Which claim of the run is the latest, 0 before the first.
    attempt: u32,
    /// How long one attempt may take, in seconds.
    timeout_s: u32,
    /// How many attempts may count.
    max_attempts: u32,
    /// How long it is kept after its end, in seconds, where it says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_s: Option<u32>,
    /// How long it waits between attempts, where it says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Retry>)]
    retry: Option<RetryPauses>,
    /// When it was to run, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<Timestamp>,
    /// Within how many seconds an attempt of a run is to begin, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_within_s: Option<u32>,
    /// The schedule that created it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
    /// Of a schedule's job: the time that it was due at, or asked for by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    /// When it was created.
    created_at: Timestamp,
    /// When its latest attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// While it is queued after an attempt: when the next may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Who claimed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a WorkerId>,
    /// The handler's input, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<&'a RawValue>,
    /// What the handler returned; of a job that did not finish its output, where it gave any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<&'a RawValue>,
    /// Of a failed job: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    /// While it is queued: what it waits for, where that is not its time alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'a JobError>,
    /// While it runs: how far it is, where its handler says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JobProgress>,
    /// Of a cancelled job: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CancelReason>,
    /// When a cancel was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_requested_at: Option<Timestamp>,
    /// The client's words for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<&'a str>,
}

/// A page of jobs.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written piece by piece")]
pub(super) struct JobList<'a> {
    /// The jobs, newest first.
    jobs: Vec<JobView<'a>>,
    /// How many are left out, since only a newer version can read them.
    unreadable: Option<u32>,
    /// What the next page is asked for with; empty where there is none.
    next_page_token: String,
}

/// The attempts of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptList<'a> {
    /// The latest last.
    pub(super) attempts: Vec<AttemptView<'a>>,
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
            keep_s: job.keep_s,
            retry: job.retry,
            run_at: job.run_at.map(timestamp),
            start_within_s: job.start_within_s,
            schedule: job.schedule.as_ref().map(|of| of.id.as_str()),
            due_at: job.schedule.as_ref().map(|of| timestamp(of.due_at)),
            created_at: timestamp(job.created_at),
            started_at: job.started_at.map(timestamp),
            next_at: job.next_at.filter(|_| waits).map(timestamp),
            ended_at: job.ended_at.map(timestamp),
            worker: job.worker.as_ref(),
            payload: job.payload.as_deref().and_then(raw),
            result: job.result.as_deref().and_then(raw),
            error: job.error.as_ref(),
            waits_for: job.attempts.last().filter(|_| waits).and_then(waits_for),
            progress: None,
            reason: job.reason,
            cancel_requested_at: job.cancel.as_ref().map(|cancel| timestamp(cancel.requested_at)),
            cancel_reason: job.cancel.as_ref().and_then(|cancel| cancel.reason.as_deref()),
        }
    }
}

impl JobView<'_> {
    /// The same, of a job whose attempt is so far.
    #[must_use]
    pub(super) fn with_progress(self, progress: Option<JobProgress>) -> Self {
        Self { progress, ..self }
    }
}

/// What a run waits for that a worker gave back, uncharged, and said why: such as one with a handler for its kind.
fn waits_for(latest: &AttemptSummary) -> Option<&JobError> {
    latest.error.as_ref().filter(|_| latest.outcome == AttemptOutcome::Released)
}

/// How many attempts are shown.
const ATTEMPTS_SHOWN: usize = 100;

/// An attempt; one that goes on has neither end nor outcome.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptView<'a> {
    /// Which run it is of.
    run: u32,
    /// Which attempt of that run.
    attempt: u32,
    /// Who claimed it.
    worker: &'a WorkerId,
    /// When.
    started_at: Timestamp,
    /// When it ended; of a lost lease, when that was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<AttemptOutcome>,
    /// Whether it counts towards `max_attempts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<bool>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    /// What it gave all the same: of the latest attempt whole, of earlier ones at most 4 KiB. What a finished attempt
    /// gave is the job's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<OutputView<'a>>,
}

/// What an attempt gave.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum OutputView<'a> {
    Json(&'a RawValue),
    Program(&'a ProgramOutput),
    /// Of a JSON text the beginning.
    Cut(&'a str),
}

impl<'a> From<&'a ShortOutput> for OutputView<'a> {
    fn from(output: &'a ShortOutput) -> Self {
        match output {
            ShortOutput::Program(program) => Self::Program(program),
            ShortOutput::Json(text) => raw(text).map_or(Self::Cut(text), Self::Json),
        }
    }
}

impl<'a> AttemptView<'a> {
    /// The attempts of all runs, the latest last; at most 100. `earlier` has the earlier runs, the
    /// latest first.
    pub(super) fn latest(job: &'a Job, earlier: &'a [Job]) -> Vec<Self> {
        let runs = earlier.iter().rev().chain(std::iter::once(job));
        let ended = runs.flat_map(Self::of_run);
        let mut attempts: Vec<Self> = ended.chain(Self::current(job)).collect();
        let surplus = attempts.len().saturating_sub(ATTEMPTS_SHOWN);
        attempts.drain(..surplus);
        attempts
    }

    fn of_run(run: &'a Job) -> impl Iterator<Item = Self> {
        // The last one that had any: its output is kept whole.
        let last = run.attempts.iter().rposition(|attempt| attempt.output.is_some());
        let whole = whole_output(run);
        run.attempts.iter().enumerate().map(move |(index, attempt)| {
            let output = whole.filter(|_| last == Some(index)).and_then(raw).map(OutputView::Json);
            let output = output.or_else(|| attempt.output.as_ref().map(OutputView::from));
            Self { output, ..Self::ended(run.run, attempt) }
        })
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
            output: None,
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
            output: None,
        })
    }
}

/// The whole output of the last attempt that had any: the run's result, unless the attempt was tried again.
fn whole_output(run: &Job) -> Option<&str> {
    let last = run.attempts.last()?;
    match run.result.as_deref() {
        // It is the result of an attempt that finished, and the earlier attempts' are kept in short.
        Some(_) if last.outcome == AttemptOutcome::Finished => None,
        Some(result) => Some(result),
        None => run.output.as_deref(),
    }
}

/// The stored text as it is; it was JSON when it was stored.
fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}
