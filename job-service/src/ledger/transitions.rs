//! What can happen to a run: pure functions from one state of its document to the next.

use std::time::Duration;

use bson::DateTime;
use shared_events::{
    AttemptOutcome, AttemptSummary, CancelReason, JobCancel, JobCreated, JobError, JsonText, Kind, Limits,
    Priority, Queue, RunId, ShortOutput, Status, TraceContext, WorkerId, live::LogLine,
};

use super::model::{AttemptEnd, NextAction, Run, timestamp};

/// How many attempts a run remembers.
pub(super) const ATTEMPTS_KEPT: usize = 100;

impl Run {
    /// What the ledger makes of a run that it did not know: claimed, or cancelled where that was
    /// asked for before anybody took it, or where the time is over by which it was to start.
    #[must_use]
    pub fn fresh(
        announced: &JobCreated,
        trace: Option<TraceContext>,
        worker: &WorkerId,
        now: DateTime,
        lease: Duration,
    ) -> Self {
        Self::unless_over(announced, trace, now, |run| run.claimed(worker, now, lease))
    }

    /// The same where no worker has a slot of its kind: not claimed, with no attempt, to be taken by the next that has one.
    #[must_use]
    pub fn waiting(announced: &JobCreated, trace: Option<TraceContext>, now: DateTime) -> Self {
        Self::unless_over(announced, trace, now, |run| Self {
            start_by: announced.start_by.map(|start_by| DateTime::from_millis(start_by.millis())),
            next_at: Some(now),
            next_action: Some(NextAction::Run),
            next_action_at: Some(now),
            ..run.clone()
        })
    }

    fn unless_over(
        announced: &JobCreated,
        trace: Option<TraceContext>,
        now: DateTime,
        go_on: impl FnOnce(&Self) -> Self,
    ) -> Self {
        let unclaimed = Self {
            priority: announced.priority,
            payload: announced.payload.as_str().to_owned(),
            timeout_s: announced.limits.timeout_s,
            max_attempts: announced.limits.max_attempts,
            retry: announced.retry,
            created_at: DateTime::from_millis(announced.created_at.millis()),
            ..Self::unclaimed(announced.run_id(), announced.kind.clone(), announced.queue.clone(), trace, now)
        };
        let is_expired = announced.start_by.is_some_and(|start_by| start_by <= timestamp(now));
        if announced.cancel_requested {
            unclaimed.closed(Status::Cancelled, now, now)
        } else if is_expired {
            unclaimed.expired(now)
        } else {
            go_on(&unclaimed)
        }
    }

    /// What the ledger keeps of a run that was cancelled before it was announced: a later
    /// announcement finds it ended.
    #[must_use]
    pub fn tombstone(cancel: &JobCancel, trace: Option<TraceContext>, now: DateTime) -> Self {
        let unclaimed =
            Self::unclaimed(cancel.run_id(), cancel.kind.clone(), cancel.queue.clone(), trace, now);
        Self { reason: Some(cancel.reason), ..unclaimed }.closed(Status::Cancelled, now, now)
    }

    /// The run after its time to start was over before anybody began it.
    #[must_use]
    pub fn expired(&self, now: DateTime) -> Self {
        Self { reason: Some(CancelReason::Expired), ..self.clone() }.closed(Status::Cancelled, now, now)
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
            retry: None,
            trace,
            created_at: now,
            status: Status::Queued,
            attempt: 0,
            charged: 0,
            lost: 0,
            worker: None,
            started_at: None,
            lease_until: None,
            start_by: None,
            next_at: None,
            next_action: None,
            next_action_at: None,
            cancel_requested: None,
            ended_at: None,
            result: None,
            output: None,
            error: None,
            reason: None,
            unknown_kind_since: None,
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
        next.next_action = Some(NextAction::Run);
        next.next_action_at = Some(until);
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
    pub fn recovered_by_redelivery(self) -> Self {
        if self.status == Status::Queued {
            self
        } else {
            Self { next_action: None, next_action_at: None, ..self }
        }
    }

    /// Whether it has no time for a next action, so that only its announcement brings it on after a crash.
    #[must_use]
    pub const fn is_recovered_by_redelivery(&self) -> bool {
        self.next_action_at.is_none()
    }

    /// The run after its current attempt ended. An end that is not announced by itself is announced
    /// by a scan from `announce_by` on.
    #[must_use]
    pub fn ended(&self, end: AttemptEnd, now: DateTime, announce_by: DateTime) -> Self {
        let (end, mut next) = (end.within_limits(), self.clone());
        let (outcome, error, output) = match &end {
            // Its output is the run's result.
            AttemptEnd::Finished(_) => (AttemptOutcome::Finished, None, None),
            AttemptEnd::Failed(error, output) | AttemptEnd::Retry(error, _, output) => {
                (AttemptOutcome::Failed, Some(error.clone()), output.as_ref())
            }
            AttemptEnd::Cancelled(_, output) => (AttemptOutcome::Cancelled, None, output.as_ref()),
            AttemptEnd::Released => (AttemptOutcome::Released, None, None),
            AttemptEnd::UnknownKind(error, _) => (AttemptOutcome::Released, Some(error.clone()), None),
        };
        next.remember_attempt(now, outcome, error, output.map(ShortOutput::of));
        next.output = None;
        match end {
            AttemptEnd::Finished(result) => {
                next.result = result.map(JsonText::into_text);
                next.closed(Status::Finished, now, announce_by)
            }
            AttemptEnd::Failed(error, output) => {
                next.error = Some(error);
                next.result = output.map(JsonText::into_text);
                next.closed(Status::Failed, now, announce_by)
            }
            AttemptEnd::Cancelled(reason, output) => {
                next.reason = Some(reason);
                next.result = output.map(JsonText::into_text);
                next.closed(Status::Cancelled, now, announce_by)
            }
            AttemptEnd::Retry(_, next_at, output) => {
                next.output = output.map(JsonText::into_text);
                next.requeued(next_at, announce_by)
            }
            AttemptEnd::Released => {
                next.charged -= 1;
                next.requeued(now, announce_by)
            }
            AttemptEnd::UnknownKind(_, next_at) => {
                next.charged -= 1;
                next.unknown_kind_since = next.unknown_kind_since.or(Some(now));
                next.requeued(next_at, announce_by)
            }
        }
    }

    /// The same, with what the handler of the attempt that has just ended logged last.
    #[must_use]
    pub fn with_log(mut self, log: Vec<LogLine>) -> Self {
        if let Some(latest) = self.attempts.last_mut() {
            latest.log = log;
        }
        self
    }

    fn closed(mut self, status: Status, now: DateTime, announce_by: DateTime) -> Self {
        if status == Status::Cancelled && self.reason.is_none() {
            self.reason = Some(CancelReason::Requested);
        }
        self.status = status;
        self.ended_at = Some(now);
        self.next_action = Some(NextAction::Announce);
        self.next_action_at = Some(announce_by);
        self
    }

    fn requeued(mut self, next_at: DateTime, announce_by: DateTime) -> Self {
        self.status = Status::Queued;
        self.next_at = Some(next_at);
        self.next_action = Some(NextAction::AnnounceAndRun);
        self.next_action_at = Some(next_at.min(announce_by));
        self
    }

    /// Where the latest claim was never ended: its lease was lost.
    fn with_lost_attempt(&self, now: DateTime) -> Self {
        let mut next = self.clone();
        if self.status == Status::Running {
            next.lost += 1;
            next.remember_attempt(now, AttemptOutcome::Lost, Some(lease_lost(self)), None);
        }
        next
    }

    fn remember_attempt(
        &mut self,
        now: DateTime,
        outcome: AttemptOutcome,
        error: Option<JobError>,
        output: Option<ShortOutput>,
    ) {
        let (Some(worker), Some(started_at)) = (self.worker.clone(), self.started_at) else { return };
        self.attempts.push(AttemptSummary {
            attempt: self.attempt,
            worker,
            started_at: timestamp(started_at),
            ended_at: timestamp(now),
            outcome,
            charged: outcome != AttemptOutcome::Released,
            error,
            output,
            log: Vec::new(),
        });
        let surplus = self.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        self.attempts.drain(..surplus);
    }
}

fn lease_lost(run: &Run) -> JobError {
    let worker = run.worker.as_ref().map_or("its worker", WorkerId::as_str);
    JobError::new("lease_lost", format!("{worker} did not renew the lease of attempt {}", run.attempt))
}

fn later(date: DateTime, duration: Duration) -> DateTime {
    DateTime::from_millis(date.timestamp_millis() + service_kit::clock::millis(duration))
}
