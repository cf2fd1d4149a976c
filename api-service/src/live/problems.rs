//! What can go wrong with a log.

use crate::{http::route_problems, jobs::JOB_NOT_FOUND, workers::WORKER_SILENT};

route_problems! {
    /// Reading a log.
    LogProblems: JOB_NOT_FOUND, WORKER_SILENT;
}
