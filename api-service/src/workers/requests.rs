//! What requests about workers bring.

use shared_events::WorkerId;
use utoipa::IntoParams;

use super::problems::WORKER_NOT_FOUND;
use crate::http::{
    Problem,
    read::{PathFields, ReadFields, Text},
};

/// Which worker.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WorkerPath {
    /// The worker's id.
    #[param(inline, example = "worker-3-7-a1b2c3d4")]
    id: Text<1, 256>,
}

impl WorkerPath {
    pub(super) fn id(&self) -> WorkerId {
        WorkerId::from(self.id.to_string())
    }
}

impl PathFields for WorkerPath {
    fn not_found() -> Problem {
        Problem::new(&WORKER_NOT_FOUND)
    }
}
