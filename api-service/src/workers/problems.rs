//! The problems of workers, for clients.

use super::ControlError;
use crate::http::{Problem, ProblemType, route_problems};

/// How soon a client may try again where a worker has not answered.
const RETRY_S: u64 = 2;

/// 404.
pub(super) const WORKER_NOT_FOUND: ProblemType = ProblemType {
    code: "worker_not_found",
    status: 404,
    title: "There is no such worker",
    meaning: "No worker has this id: it has ended, or has not been heard for ten seconds. A worker that starts again has \
              another id.",
    remedy: "Look the id up in `GET /v1/workers`.",
};

/// 409.
pub(super) const WORKER_STOPPING: ProblemType = ProblemType {
    code: "worker_stopping",
    status: 409,
    title: "The worker is about to end",
    meaning: "The worker was told to end, and takes nothing any more.",
    remedy: "Start another worker.",
};

/// 503.
pub(crate) const WORKER_SILENT: ProblemType = ProblemType {
    code: "worker_silent",
    status: 503,
    title: "The worker has not answered",
    meaning: "The worker did not say within three seconds that it does what it was asked for: NATS is away from it or from \
              the API, or it hangs. It may do so later.",
    remedy: "Try again after `Retry-After`; asking twice does no harm.",
};

/// All of them.
pub const PROBLEM_TYPES: &[&ProblemType] = &[&WORKER_NOT_FOUND, &WORKER_STOPPING, &WORKER_SILENT];

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let problem = match &error {
            ControlError::NotFound(_) => Self::new(&WORKER_NOT_FOUND),
            ControlError::Stopping(_) => Self::new(&WORKER_STOPPING),
            ControlError::NoAnswer(_) => Self::new(&WORKER_SILENT).retry_after(RETRY_S),
        };
        problem.detail(error.to_string())
    }
}

route_problems! {
    /// Draining a worker.
    DrainProblems: WORKER_NOT_FOUND, WORKER_SILENT;
    /// Having a worker take runs again.
    ResumeProblems: WORKER_NOT_FOUND, WORKER_STOPPING, WORKER_SILENT;
}
