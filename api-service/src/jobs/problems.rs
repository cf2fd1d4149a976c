//! The problems of jobs, for clients.

use actix_web::http::StatusCode;

use super::{CreateError, LifecycleError};
use crate::http::Problem;

/// How soon a client may try again whose queue waits for the broker.
const OUTBOX_RETRY_S: u64 = 10;

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::DuplicateObject { holder, left } => {
                let title = "A job for this object_id was created only a short while ago";
                let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                Self::new(StatusCode::CONFLICT, "duplicate_object", title)
                    .with("job_id", holder)
                    .retry_after(seconds.max(1))
            }
            CreateError::KeyReused(holder) => {
                let title = "The Idempotency-Key was used for another request";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", title)
                    .with("job_id", holder)
            }
            CreateError::Gone(id) => {
                let title = "The job that was created under this Idempotency-Key is gone";
                Self::new(StatusCode::GONE, "job_gone", title).with("job_id", id)
            }
            CreateError::OutboxFull => outbox_full(),
            CreateError::Contended => Self::unavailable("the object's dedup key changes hands too quickly"),
            CreateError::BrokeOff => Self::unavailable("creating the job broke off"),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::NotFound(id) => no_job(&id.to_string()),
            LifecycleError::AlreadyEnded(status) => {
                Self::new(StatusCode::CONFLICT, "already_ended", "The job has ended already")
                    .with("job_status", status)
            }
            LifecycleError::NotEnded(status) => {
                Self::new(StatusCode::CONFLICT, "not_ended", "The job has not ended yet")
                    .with("job_status", status)
            }
            LifecycleError::OutboxFull => outbox_full(),
            LifecycleError::Store(error) => error.into(),
        }
    }
}

/// 404: there is no such job; `id` is what the client asked for.
pub(super) fn no_job(id: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "job_not_found", "There is no such job")
        .detail(format!("no job with id: {id}"))
}

fn outbox_full() -> Problem {
    let title = "Too many jobs of this queue wait for the broker";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "outbox_full", title).retry_after(OUTBOX_RETRY_S)
}
