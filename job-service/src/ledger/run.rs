//! A run as the ledger keeps it, and what can happen to it: pure functions from one state of the
//! document to the next.

use std::time::Duration;

use bson::DateTime;
use serde::{Deserialize, Serialize};
use shared_events::{
    AttemptOutcome, AttemptSummary, CancelReason, JobCancel, JobCreated, JobEnded, JobError, JobEvent,
    JobRetrying, JobStarted, JsonText, Kind, Limits, Priority, Queue, RunId, Status, Timestamp, TraceContext,
    WorkerId,
};

use super::fence::Fence;

/// How many attempts a run remembers.
const ATTEMPTS_KEPT: usize = 100;

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
    /// When the next attempt may start; means something only while queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime>,
    /// What has to be done with this document at `due`, whoever does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duty: Option<Duty>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime>,
    /// Whether the client wants it stopped; absent where not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_requested: Option<bool>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime>,
    /// What the handler answered, as its original text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What went wrong, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// The attempts that ended, the latest last; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptSummary>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a document waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// To be run: its retry is due, or its lease has ended.
    Run,
    /// The outbox mark of an end: it still has to be announced.
    Announce,
    /// The outbox mark of a retry: it still has to be announced, and to be run.
    AnnounceAndRun,
}

/// How an attempt, or a run without one, ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The handler said done.
    Finished(Option<JsonText>),
    /// It failed for good.
    Failed(JobError),
    /// It was stopped.
    Cancelled(CancelReason),
    /// It failed, and is to be tried again at this time.
    Retry(JobError, DateTime),
    /// The worker gives it back, uncharged.
    Released,
}

impl Ending {
    /// The same with its error cut where it is too long, so that document and events agree and fit.
    fn within_limits(self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.within_limits()),
            Self::Retry(error, next_at) => Self::Retry(error.within_limits(), next_at),
            Self::Finished(_) | Self::Cancelled(_) | Self::Released => self,
        }
    }

    /// About how many bytes of the handler's are in it.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Finished(result) => result.as_ref().map_or(0, |result| result.as_str().len()),
            Self::Failed(error) | Self::Retry(error, _) => error.code.len() + error.message.len(),
            Self::Cancelled(_) | Self::Released => 0,
        }
    }
}

impl Run {
    /// What the ledger makes of a run that it did not know: claimed, or cancelled where that was
    /// asked for before anybody took it.
    #[must_use]
    pub fn fresh(
        announced: &JobCreated,
        trace: Option<TraceContext>,
        worker: &WorkerId,
        now: DateTime,
        lease: Duration,
    ) -> Self {
        let unclaimed = Self {
            priority: announced.priority,
            payload: announced.payload.as_str().to_owned(),
            timeout_s: announced.limits.timeout_s,
            max_attempts: announced.limits.max_attempts,
            created_at: DateTime::from_millis(announced.created_at.millis()),
            ..Self::unclaimed(announced.run_id(), announced.kind.clone(), announced.queue.clone(), trace, now)
        };
        if announced.cancel_requested {
            unclaimed.closed(Status::Cancelled, now, now)
        } else {
            unclaimed.claimed(worker, now, lease)
        }
    }

    /// What the ledger keeps of a run that was cancelled before it was announced: a later
    /// announcement finds it ended.
    #[must_use]
    pub fn tombstone(cancel: &JobCancel, trace: Option<TraceContext>, now: DateTime) -> Self {
        let unclaimed =
            Self::unclaimed(cancel.run_id(), cancel.kind.clone(), cancel.queue.clone(), trace, now);
        unclaimed.closed(Status::Cancelled, now, now)
    }

    fn unclaimed(id: RunId, kind: Kind, queue: Queue, trace: Option<TraceContext>, now: DateTime) -> Self {
        Self {
            id,
            kind,
            queue,
            priority: Priority::default(),
            payload: "{}".to_owned(),
            timeout_s: Limits::default().timeout_s,
            max_attempts: Limits::default().max_attempts,
            trace,
            created_at: now,
            status: Status::Queued,
            attempt: 0,
            charged: 0,
            lost: 0,
            worker: None,
            started_at: None,
            lease_until: None,
            next_at: None,
            duty: None,
            due: None,
            cancel_requested: None,
            ended_at: None,
            result: None,
            error: None,
            reason: None,
            attempts: Vec::new(),
        }
    }

    /// The run after this worker's claim: the attempt is charged before its handler starts, so that
    /// a job that kills its worker uses up its attempts.
    #[must_use]
    pub fn claimed(&self, worker: &WorkerId, now: DateTime, lease: Duration) -> Self {
        let until = later(now, lease);
        let mut next = self.with_lost_attempt(now);
        next.status = Status::Running;
        next.attempt += 1;
        next.charged += 1;
        next.worker = Some(worker.clone());
        next.started_at = Some(now);
        next.lease_until = Some(until);
        next.next_at = None;
        next.duty = Some(Duty::Run);
        next.due = Some(until);
        next
    }

    /// The run after its latest lease ended and nobody is to try again.
    #[must_use]
    pub fn given_up(&self, now: DateTime) -> Self {
        let mut next = self.with_lost_attempt(now);
        if self.cancel_requested.is_none() {
            next.error = Some(lease_lost(self));
            return next.closed(Status::Failed, now, now);
        }
        next.closed(Status::Cancelled, now, now)
    }

    /// The same run while its announcement is unacked: the broker remembers what is to be done, unless it waits for
    /// its next attempt.
    #[must_use]
    pub fn carried(self) -> Self {
        if self.status == Status::Queued { self } else { Self { duty: None, due: None, ..self } }
    }

    /// Whether it is not among what is due, so that its announcement has to carry it.
    #[must_use]
    pub const fn is_carried(&self) -> bool {
        self.due.is_none()
    }

    /// The run after its current attempt ended. An end that is not announced by itself is announced
    /// by a scan from `announce_by` on.
    #[must_use]
    pub fn ended(&self, ending: Ending, now: DateTime, announce_by: DateTime) -> Self {
        let (ending, mut next) = (ending.within_limits(), self.clone());
        let (outcome, error) = match &ending {
            Ending::Finished(_) => (AttemptOutcome::Finished, None),
            Ending::Failed(error) | Ending::Retry(error, _) => (AttemptOutcome::Failed, Some(error.clone())),
            Ending::Cancelled(_) => (AttemptOutcome::Cancelled, None),
            Ending::Released => (AttemptOutcome::Released, None),
        };
        next.remember_attempt(now, outcome, error);
        match ending {
            Ending::Finished(result) => {
                next.result = result.map(JsonText::into_text);
                next.closed(Status::Finished, now, announce_by)
            }
            Ending::Failed(error) => {
                next.error = Some(error);
                next.closed(Status::Failed, now, announce_by)
            }
            Ending::Cancelled(reason) => {
                next.reason = Some(reason);
                next.closed(Status::Cancelled, now, announce_by)
            }
            Ending::Retry(_, next_at) => next.requeued(next_at, announce_by),
            Ending::Released => {
                next.charged -= 1;
                next.requeued(now, announce_by)
            }
        }
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
        match self.status {
            Status::Queued => {
                let next_at = timestamp(self.next_at?);
                Some(JobEvent::Retrying(JobRetrying { job, run, attempt, next_at, attempts }))
            }
            Status::Running => {
                let (worker, started_at) = (self.worker.clone()?, timestamp(self.started_at?));
                Some(JobEvent::Started(JobStarted { job, run, attempt, worker, started_at }))
            }
            Status::Finished | Status::Failed | Status::Cancelled => Some(JobEvent::Ended(
                self.status,
                JobEnded {
                    job,
                    run,
                    attempt,
                    started_at: self.started_at.map(timestamp),
                    ended_at: timestamp(self.ended_at?),
                    result: self.result.clone().and_then(|text| JsonText::from_stored(text).ok()),
                    error: self.error.clone(),
                    reason: self.reason,
                    attempts,
                },
            )),
        }
    }

    fn closed(mut self, status: Status, now: DateTime, announce_by: DateTime) -> Self {
        if status == Status::Cancelled && self.reason.is_none() {
            self.reason = Some(CancelReason::Requested);
        }
        self.status = status;
        self.ended_at = Some(now);
        self.duty = Some(Duty::Announce);
        self.due = Some(announce_by);
        self
    }

    fn requeued(mut self, next_at: DateTime, announce_by: DateTime) -> Self {
        self.status = Status::Queued;
        self.next_at = Some(next_at);
        self.duty = Some(Duty::AnnounceAndRun);
        self.due = Some(next_at.min(announce_by));
        self
    }

    /// Where the latest claim was never ended: its lease was lost.
    fn with_lost_attempt(&self, now: DateTime) -> Self {
        let mut next = self.clone();
        if self.status == Status::Running {
            next.lost += 1;
            next.remember_attempt(now, AttemptOutcome::Lost, Some(lease_lost(self)));
        }
        next
    }

    fn remember_attempt(&mut self, now: DateTime, outcome: AttemptOutcome, error: Option<JobError>) {
        let (Some(worker), Some(started_at)) = (self.worker.clone(), self.started_at) else { return };
        self.attempts.push(AttemptSummary {
            attempt: self.attempt,
            worker,
            started_at: timestamp(started_at),
            ended_at: timestamp(now),
            outcome,
            charged: outcome != AttemptOutcome::Released,
            error,
        });
        let surplus = self.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        self.attempts.drain(..surplus);
    }
}

fn lease_lost(run: &Run) -> JobError {
    let worker = run.worker.as_ref().map_or("its worker", WorkerId::as_str);
    JobError::new("lease_lost", format!("{worker} did not renew the lease of attempt {}", run.attempt))
}

fn timestamp(date: DateTime) -> Timestamp {
    Timestamp::from_millis(date.timestamp_millis())
}

fn later(date: DateTime, duration: Duration) -> DateTime {
    DateTime::from_millis(date.timestamp_millis() + service_kit::clock::millis(duration))
}

#[cfg(test)]
pub(super) mod tests {
    use shared_events::{JobId, Limits};

    use super::*;

    pub(crate) const LEASE: Duration = Duration::from_secs(30);

    pub(crate) fn at(seconds: i64) -> DateTime {
        DateTime::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    pub(crate) fn worker(name: &str) -> WorkerId {
        WorkerId::from(name.to_owned())
    }

    pub(crate) fn announced(cancel_requested: bool) -> JobCreated {
        JobCreated {
            job: JobId::generate(),
            run: 1,
            epoch: 1,
            kind: "noop".parse().unwrap(),
            queue: Queue::default(),
            priority: Priority::Normal,
            payload: JsonText::empty_object(),
            limits: Limits { timeout_s: 46, max_attempts: 2 },
            cancel_requested,
            created_at: Timestamp::from_millis(at(0).timestamp_millis()),
        }
    }

    pub(crate) fn running() -> Run {
        Run::fresh(&announced(false), None, &worker("one"), at(0), LEASE)
    }

    #[test]
    fn a_fresh_claim_is_charged_and_due_when_its_lease_ends() {
        let run = running();
        assert_eq!((run.status, run.attempt, run.charged), (Status::Running, 1, 1));
        assert_eq!((run.duty, run.due, run.lease_until), (Some(Duty::Run), Some(at(30)), Some(at(30))));
    }

    #[test]
    fn a_cancel_known_before_the_claim_means_no_attempt() {
        let run = Run::fresh(&announced(true), None, &worker("one"), at(0), LEASE);
        assert_eq!(
            (run.status, run.attempt, run.reason),
            (Status::Cancelled, 0, Some(CancelReason::Requested))
        );
        assert_eq!(run.duty, Some(Duty::Announce));
    }

    #[test]
    fn a_lost_lease_is_remembered_and_charged() {
        let run = running().claimed(&worker("two"), at(31), LEASE);
        assert_eq!((run.attempt, run.charged, run.lost), (2, 2, 1));
        let lost = &run.attempts[0];
        assert_eq!((lost.outcome, lost.charged, lost.worker.as_str()), (AttemptOutcome::Lost, true, "one"));
    }

    #[test]
    fn a_release_charges_nothing_and_is_due_at_once() {
        let run = running().ended(Ending::Released, at(3), at(8));
        assert_eq!((run.status, run.charged, run.attempt), (Status::Queued, 0, 1));
        assert_eq!((run.next_at, run.due), (Some(at(3)), Some(at(3))));
        assert!(!run.attempts[0].charged);
    }

    #[test]
    fn an_unannounced_retry_is_looked_at_before_it_is_due_and_run_when_it_is() {
        let error = JobError::new("planned", "");
        let run = running().ended(Ending::Retry(error.clone(), at(100)), at(3), at(8));
        assert_eq!((run.duty, run.due), (Some(Duty::AnnounceAndRun), Some(at(8))));
        let soon = running().ended(Ending::Retry(error, at(4)), at(3), at(8));
        assert_eq!(soon.due, Some(at(4)));
    }

    #[test]
    fn an_end_tells_all_attempts() {
        let run = running().claimed(&worker("two"), at(31), LEASE);
        let run = run.ended(Ending::Finished(None), at(32), at(37));
        let Some(JobEvent::Ended(Status::Finished, ended)) = run.announcement() else { panic!("{run:?}") };
        assert_eq!(ended.attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_run_remembers_its_latest_hundred_attempts() {
        let mut run = running();
        for seconds in 1..150 {
            run = run.ended(Ending::Released, at(seconds), at(seconds)).claimed(
                &worker("one"),
                at(seconds),
                LEASE,
            );
        }
        assert_eq!(run.attempts.len(), ATTEMPTS_KEPT);
        assert_eq!(run.attempts.last().map(|attempt| attempt.attempt), Some(149));
    }

    #[test]
    fn a_document_reads_back_what_was_written() {
        let run = running().ended(Ending::Failed(JobError::new("planned", "ü")), at(3), at(8));
        let document = bson::serialize_to_raw_document_buf(&run).unwrap();
        assert_eq!(bson::deserialize_from_slice::<Run>(document.as_bytes()).unwrap(), run);
    }
}
