//! A run as the ledger keeps it; what can happen to it is in `transitions.rs`.

use bson::DateTime;
use serde::{Deserialize, Serialize};
use shared_events::{
    AttemptSummary, CancelReason, JobEnded, JobError, JobEvent, JobRetrying, JobStarted, JsonText, Kind,
    Priority, Queue, RetryPauses, RunId, Status, Timestamp, TraceContext, WorkerId,
};

use super::fence::Fence;

/// A run's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `<job id>.<run>`.
    #[serde(rename = "_id")]
    pub id: RunId,
    /// Who does the work.
    pub kind: Kind,
    /// Where it waits.
    pub queue: Queue,
    /// How urgent it is.
    pub priority: Priority,
    /// The handler's input, as its original text; empty where the document was read only to be announced, or a handler
    /// has it.
    #[serde(default)]
    pub payload: String,
    /// How long an attempt may take, in seconds.
    pub timeout_s: u32,
    /// How many attempts may be charged.
    pub max_attempts: u32,
    /// How long to wait between attempts; the worker's own policy where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPauses>,
    /// The trace of the request that created the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// When the client created the job.
    pub created_at: DateTime,
    /// Where it stands.
    pub status: Status,
    /// The number of the latest claim; together with `worker` the fence.
    pub attempt: u32,
    /// How many attempts count towards `max_attempts`.
    pub charged: u32,
    /// How many leases were lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// Who claimed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// When it was claimed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime>,
    /// When the claim ends unless it is renewed; means something only while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<DateTime>,
    /// When a run that waits for a slot of its kind, with no attempt yet, is to end instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_by: Option<DateTime>,
    /// When the next attempt may start; means something only while queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime>,
    /// What has to be done with this document at `next_action_at`, whoever does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action: Option<NextAction>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action_at: Option<DateTime>,
    /// Whether the client wants it stopped; absent where not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_requested: Option<bool>,
    /// When it ended.
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
    /// When a worker first gave it back since it has no handler for its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_kind_since: Option<DateTime>,
    /// The attempts that ended, the latest last; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptSummary>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl NextAction {
    /// The action as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Announce => "announce",
            Self::AnnounceAndRun => "announce_and_run",
        }
    }
}

/// What a document waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextAction {
    /// To be run: its retry is due, or its lease has ended.
    Run,
    /// The outbox mark of an end: it still has to be announced.
    Announce,
    /// The outbox mark of a retry: it still has to be announced, and to be run.
    AnnounceAndRun,
}

/// An end of a run, by whom it was recorded.
#[derive(Debug, Clone)]
pub struct EndedRun {
    /// The run.
    pub id: RunId,
    pub(super) fence: Fence,
    /// Whether it has a time for a next action: a scan announces it then.
    pub has_time: bool,
}

/// How an attempt, or a run without one, ends.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptEnd {
    /// The handler said done.
    Finished(Option<JsonText>),
    /// It failed for good, with what the handler had by then.
    Failed(JobError, Option<JsonText>),
    /// It was stopped, with what the handler had by then.
    Cancelled(CancelReason, Option<JsonText>),
    /// It failed, and is to be tried again at this time, with what the handler had by then.
    Retry(JobError, DateTime, Option<JsonText>),
    /// The worker gives it back, uncharged.
    Released,
    /// The worker has no handler for its kind, and gives it back, uncharged, until this time.
    UnknownKind(JobError, DateTime),
}

fn length(text: Option<&JsonText>) -> usize {
    text.map_or(0, |text| text.as_str().len())
}

impl AttemptEnd {
    /// The same with its error cut where it is too long, so that document and events agree and fit.
    pub(super) fn within_limits(self) -> Self {
        match self {
            Self::Failed(error, output) => Self::Failed(error.within_limits(), output),
            Self::Retry(error, next_at, output) => Self::Retry(error.within_limits(), next_at, output),
            Self::UnknownKind(error, next_at) => Self::UnknownKind(error.within_limits(), next_at),
            Self::Finished(_) | Self::Cancelled(..) | Self::Released => self,
        }
    }

    /// About how many bytes of the handler's are in it.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Finished(output) | Self::Cancelled(_, output) => length(output.as_ref()),
            Self::Failed(error, output) | Self::Retry(error, _, output) => {
                error.code.len() + error.message.len() + length(output.as_ref())
            }
            Self::UnknownKind(error, _) => error.code.len() + error.message.len(),
            Self::Released => 0,
        }
    }
}

impl Run {
    /// Which end of it this is.
    #[must_use]
    pub fn ended_run(&self) -> EndedRun {
        EndedRun { id: self.id, fence: self.fence(), has_time: self.next_action_at.is_some() }
    }

    /// Who holds it, or held it last.
    pub(super) fn fence(&self) -> Fence {
        Fence::new(self.attempt, self.worker.clone())
    }

    /// What is to be told about the run as it stands; none where nobody claimed it yet.
    #[must_use]
    pub fn announcement(&self) -> Option<JobEvent> {
        let (job, run, attempt) = (self.id.job, self.id.run, self.attempt);
        let attempts = self.attempts.clone();
        let json = |text: &Option<String>| text.clone().and_then(|text| JsonText::from_stored(text).ok());
        let event = match self.status {
            // The ledger hears of a run when it is queued.
            Status::Scheduled => return None,
            Status::Queued => {
                let (next_at, output) = (timestamp(self.next_at?), json(&self.output));
                JobEvent::Retrying(JobRetrying { job, run, attempt, next_at, output, attempts })
            }
            Status::Running => {
                let (worker, started_at) = (self.worker.clone()?, timestamp(self.started_at?));
                JobEvent::Started(JobStarted { job, run, attempt, worker, started_at })
            }
            Status::Finished | Status::Failed | Status::Cancelled => JobEvent::Ended(
                self.status,
                JobEnded {
                    job,
                    run,
                    attempt,
                    started_at: self.started_at.map(timestamp),
                    ended_at: timestamp(self.ended_at?),
                    result: json(&self.result),
                    error: self.error.clone(),
                    reason: self.reason,
                    attempts,
                },
            ),
        };
        Some(event.within_limits())
    }
}

pub(super) fn timestamp(date: DateTime) -> Timestamp {
    Timestamp::from_millis(date.timestamp_millis())
}

#[cfg(test)]
pub(crate) mod tests;
