//! All that is stored about one job.

use api_service::jobs::{Job, Stub};
use job_service::ledger::Run;
use shared_events::JobId;

/// See the module.
#[derive(Clone, Debug)]
pub struct Group {
    /// The job's id.
    pub id: JobId,
    /// The job at its latest run, as the api-service has it.
    pub job: Option<Job>,
    /// The job at the end of earlier runs, as far as the api-service keeps it.
    pub earlier: Vec<Job>,
    /// Its runs in the ledger.
    pub runs: Vec<Run>,
    /// The job is gone, and the api-service has a stub in its place.
    pub has_stub: bool,
}

/// What the api-service stores under a job's id.
#[derive(Debug)]
pub(super) enum JobOrStub {
    Job(Box<Job>),
    Stub(Stub),
}

impl Group {
    /// Nothing is known of it yet.
    pub(super) const fn new(id: JobId) -> Self {
        Self { id, job: None, earlier: Vec::new(), runs: Vec::new(), has_stub: false }
    }

    /// Puts in what is stored under the job's id.
    pub(super) fn put(&mut self, stored: JobOrStub) {
        match stored {
            JobOrStub::Stub(_) => self.has_stub = true,
            JobOrStub::Job(job) => self.job = Some(*job),
        }
    }

    /// Whether all its runs have ended, and nothing is left to do about them.
    pub fn is_over(&self) -> bool {
        let job = self
            .job
            .iter()
            .chain(&self.earlier)
            .all(|job| job.status.is_terminal() && job.next_action.is_none());
        job && self.runs.iter().all(|run| run.status.is_terminal() && run.next_action.is_none())
    }
}
