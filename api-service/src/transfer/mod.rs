//! Everything as lines of JSON, out and in again: to move to another system, or to keep a copy.

mod export;
mod import;
mod line;
mod routes;

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Semaphore};

use self::import::Importers;
use crate::{
    jobs::Importer,
    schedules::{ScheduleImporter, ScheduleStore, Scheduler},
};

pub use routes::configure;

/// How many exports a replica makes at once, each of which has a few MiB in memory.
const EXPORTS: usize = 4;

/// What the routes need besides the jobs.
#[derive(Clone)]
pub struct Transfer {
    importers: Importers,
    schedules: ScheduleStore,
    exports: Arc<Semaphore>,
    runtime: Handle,
}

impl Transfer {
    /// Prepares it; called on the runtime that jobs are to be taken in on.
    #[must_use]
    pub fn new(jobs: Importer, scheduler: Scheduler) -> Self {
        let schedules = scheduler.store.clone();
        let importers = Importers { jobs, schedules: ScheduleImporter::new(scheduler) };
        Self { importers, schedules, exports: Arc::new(Semaphore::new(EXPORTS)), runtime: Handle::current() }
    }
}
