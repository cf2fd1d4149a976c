//! Why a worker could not be told something.

use shared_events::WorkerId;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such worker.
    #[error("no worker {0}")]
    NotFound(WorkerId),
    /// It is about to end, and takes nothing any more.
    #[error("worker {0} is stopping")]
    Stopping(WorkerId),
    /// It did not say that it does it, or nobody can be heard.
    #[error("worker {0} has not answered")]
    NoAnswer(WorkerId),
}
