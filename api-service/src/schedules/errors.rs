//! Why something could not be done about a schedule. Routes answer with problems (`problems.rs`); nothing here knows HTTP.

use service_kit::StoreError;

use super::ScheduleId;

/// Why nothing was changed, or shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScheduleError {
    /// There is no such schedule.
    #[error("no schedule {0}")]
    NotFound(ScheduleId),
    /// The schedule is not in the state that the request is meant for, or is there though it should not be.
    #[error("the schedule is not in the state that the request is meant for")]
    ConditionFailed,
    /// Another schedule has the id.
    #[error("another schedule has the id {0}")]
    Taken(ScheduleId),
    /// The span of a backfill starts before the oldest record that is kept.
    #[error("the span starts before the oldest record of a firing")]
    TooOld,
    /// The span of a backfill has more due times than are made up for at once.
    #[error("the span has too many due times")]
    TooMany,
    /// Changes of one schedule hinder each other.
    #[error("the schedule changes too quickly")]
    Contended,
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
