//! The problems of jobs, for clients.

use super::{CreateError, LifecycleError, WrongField};
use crate::http::{
    Problem, ProblemType,
    problem::types::PRECONDITION_FAILED,
    read::{Mistake, MistakeCode, Mistakes, Place},
    route_problems,
};
use crate::idempotency::IDEMPOTENCY_KEY_REUSED;

/// How soon a client may try again whose queue waits for the broker.
const OUTBOX_RETRY_S: u64 = 10;

/// 404.
pub(crate) const JOB_NOT_FOUND: ProblemType = ProblemType {
    code: "job_not_found",
    status: 404,
    title: "There is no such job",
    meaning: "No job has this id: it never existed, was deleted, or has been removed some time after its end.",
    remedy: "Look the id up in the list, `GET /v1/jobs`.",
};

/// 409.
pub(super) const DUPLICATE_OBJECT: ProblemType = ProblemType {
    code: "duplicate_object",
    status: 409,
    title: "A job for this object_id was created only a short while ago",
    meaning: "The `object_id` has a job already; `job_id` is that job. An object gets one job within five minutes \
              (`RERUN_WINDOW_S`).",
    remedy: "Use that job, or try again after `Retry-After`.",
};

/// 409.
pub(super) const ALREADY_ENDED: ProblemType = ProblemType {
    code: "already_ended",
    status: 409,
    title: "The job has ended already",
    meaning: "The job's latest run has ended; `job_status` says how.",
    remedy: "There is nothing left to cancel. Retry the job to start its next run.",
};

/// 409.
pub(super) const NOT_ENDED: ProblemType = ProblemType {
    code: "not_ended",
    status: 409,
    title: "The job has not ended yet",
    meaning: "The job's latest run has not ended; `job_status` says how it stands.",
    remedy: "Wait for its end, or cancel it first.",
};

/// 409.
pub(super) const NOT_SCHEDULED: ProblemType = ProblemType {
    code: "not_scheduled",
    status: 409,
    title: "The job's time has come",
    meaning: "Only a job that is `scheduled` can be changed; `job_status` says how this one stands. Nothing was changed.",
    remedy: "Cancel it, if it has not ended, and create another one.",
};

/// 410.
pub(super) const JOB_GONE: ProblemType = ProblemType {
    code: "job_gone",
    status: 410,
    title: "The job that was created under this Idempotency-Key is gone",
    meaning: "The same request has created a job before, `job_id`, which was deleted or removed since.",
    remedy: "The work was asked for once already. To have it done again, send another key.",
};

/// 503.
pub(super) const OUTBOX_FULL: ProblemType = ProblemType {
    code: "outbox_full",
    status: 503,
    title: "Too many jobs of this queue wait for the broker",
    meaning: "NATS is away, or has no room, and as many jobs of this queue as may wait for it (`OUTBOX_MAX`) do. \
              Nothing was stored.",
    remedy: "Try again after `Retry-After`.",
};

/// 503.
pub(super) const OVERLOADED: ProblemType = ProblemType {
    code: "overloaded",
    status: 503,
    title: "Too much is asked for at once",
    meaning: "As many jobs are being created as can be at once, and as many requests wait for their turn as may, or this one \
              has waited for five seconds; or nginx lets no more through. Nothing was stored.",
    remedy: "Try again after `Retry-After`, each time later, and not all clients at once.",
};

/// All of them.
pub const PROBLEM_TYPES: &[&ProblemType] = &[
    &JOB_NOT_FOUND,
    &DUPLICATE_OBJECT,
    &ALREADY_ENDED,
    &NOT_ENDED,
    &NOT_SCHEDULED,
    &JOB_GONE,
    &IDEMPOTENCY_KEY_REUSED,
    &OUTBOX_FULL,
    &OVERLOADED,
];

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::DuplicateObject { holder, left } => {
                let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                Self::new(&DUPLICATE_OBJECT).with("job_id", holder).retry_after(seconds.max(1))
            }
            CreateError::KeyReused(holder) => Self::new(&IDEMPOTENCY_KEY_REUSED).with("job_id", holder),
            CreateError::Gone(id) => Self::new(&JOB_GONE).with("job_id", id),
            CreateError::Overloaded => Self::new(&OVERLOADED).retry_after(1),
            CreateError::OutboxFull => Self::new(&OUTBOX_FULL).retry_after(OUTBOX_RETRY_S),
            CreateError::Contended => Self::unavailable("the object's dedup key changes hands too quickly"),
            CreateError::BrokeOff => Self::unavailable("creating the job broke off"),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::NotFound(id) => Self::new(&JOB_NOT_FOUND).detail(format!("no job with id: {id}")),
            LifecycleError::AlreadyEnded(status) => Self::new(&ALREADY_ENDED).with("job_status", status),
            LifecycleError::NotEnded(status) => Self::new(&NOT_ENDED).with("job_status", status),
            LifecycleError::NotScheduled(status) => Self::new(&NOT_SCHEDULED).with("job_status", status),
            LifecycleError::ConditionFailed => Self::new(&PRECONDITION_FAILED),
            LifecycleError::WrongChange(fields) => {
                let mut mistakes = Mistakes::default();
                for WrongField { field, message } in fields {
                    mistakes.add(Place::Body, field, Mistake::new(MistakeCode::WrongFormat, message));
                }
                mistakes.into()
            }
            LifecycleError::Contended => Self::unavailable("the job is changed too often at once"),
            LifecycleError::OutboxFull => Self::new(&OUTBOX_FULL).retry_after(OUTBOX_RETRY_S),
            LifecycleError::Store(error) => error.into(),
        }
    }
}

route_problems! {
    /// Creating a job.
    CreateProblems: DUPLICATE_OBJECT, JOB_GONE, IDEMPOTENCY_KEY_REUSED, OUTBOX_FULL, OVERLOADED;
    /// Reading a job.
    ReadProblems: JOB_NOT_FOUND;
    /// Cancelling a job.
    CancelProblems: JOB_NOT_FOUND, ALREADY_ENDED;
    /// Starting a job's next run.
    RetryProblems: JOB_NOT_FOUND, NOT_ENDED, OUTBOX_FULL;
    /// Changing a job.
    ChangeProblems: JOB_NOT_FOUND, NOT_SCHEDULED, PRECONDITION_FAILED;
    /// Deleting a job.
    DeleteProblems: JOB_NOT_FOUND, NOT_ENDED;
    /// Starting the next run of many jobs.
    BulkRetryProblems: OUTBOX_FULL;
}
