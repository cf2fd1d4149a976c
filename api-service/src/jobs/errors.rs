//! Why something could not be done about a job. Routes answer with problems (`problems.rs`); nothing here knows HTTP.

use std::time::Duration;

use service_kit::StoreError;
use shared_events::{JobId, Status};

use super::WrongField;

/// Why a job was not created.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateError {
    /// Another job for this `object_id` was created only a short while ago.
    #[error("object is taken by job {holder}")]
    DuplicateObject {
        /// That job.
        holder: JobId,
        /// How long it goes on refusing others.
        left: Duration,
    },
    /// The idempotency key was used for another request.
    #[error("idempotency key was used for job {0}, which is another one")]
    KeyReused(JobId),
    /// The job that the same request created before is gone.
    #[error("job {0} of this idempotency key is gone")]
    Gone(JobId),
    /// As many jobs are being created as can be, and as many requests wait for their turn as may.
    #[error("more jobs are asked for than can be created")]
    Overloaded,
    /// Too many announcements wait for the broker, or for room in it.
    #[error("too many jobs of this queue wait for the broker")]
    OutboxFull,
    /// Requests for one object hinder each other.
    #[error("the object's dedup key changes hands too quickly")]
    Contended,
    /// Nobody knows whether it is stored.
    #[error("creating the job broke off")]
    BrokeOff,
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CreateError {
    /// Whether it is no fault of the request: others are likely to meet it too.
    #[must_use]
    pub const fn is_of_the_service(&self) -> bool {
        match self {
            Self::DuplicateObject { .. } | Self::KeyReused(_) | Self::Gone(_) => false,
            Self::Overloaded | Self::OutboxFull | Self::Contended | Self::BrokeOff | Self::Store(_) => true,
        }
    }
}

/// Why nothing was changed about a job.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LifecycleError {
    /// There is no such job.
    #[error("no job {0}")]
    NotFound(JobId),
    /// Its latest run has ended already, in this state.
    #[error("the job has ended already: {0}")]
    AlreadyEnded(Status),
    /// Its latest run is in this state; only one that has ended can be retried or deleted.
    #[error("the job has not ended yet: {0}")]
    NotEnded(Status),
    /// Its time has come: its latest run is in this state, and only a scheduled one can be changed.
    #[error("the job is not scheduled any more: {0}")]
    NotScheduled(Status),
    /// The job is not in the state that the change is meant for.
    #[error("the job is not in the state that the change is meant for")]
    ConditionFailed,
    /// The job would be wrong after the change.
    #[error("{} fields would be wrong after the change", .0.len())]
    WrongChange(Vec<WrongField>),
    /// Changes of the job hinder each other.
    #[error("the job is changed too often at once")]
    Contended,
    /// Too many announcements wait for the broker, or for room in it.
    #[error("too many jobs of this queue wait for the broker")]
    OutboxFull,
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
