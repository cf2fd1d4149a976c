//! What is read of the two databases: the services' documents, as far as they matter here.

use bson::{DateTime, Uuid};
use serde::Deserialize;
use shared_events::{AttemptSummary, CancelReason, JobError, JobId, RunId, Status};

/// A job, as the api-service keeps it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct JobDoc {
    #[serde(rename = "_id")]
    pub(crate) id: JobKey,
    pub(crate) queue: String,
    pub(crate) priority: String,
    #[serde(default)]
    pub(crate) payload: String,
    pub(crate) run: u32,
    pub(crate) attempt: u32,
    pub(crate) status: Status,
    pub(crate) reason: Option<CancelReason>,
    pub(crate) error: Option<JobError>,
    pub(crate) announced: Option<Announced>,
    pub(crate) duty: Option<String>,
    pub(crate) due: Option<DateTime>,
    pub(crate) ended_at: Option<DateTime>,
}

/// What the api-service stores under a job's id.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stored {
    /// What stays of a job that is gone.
    Stub {
        #[serde(rename = "_id")]
        id: Uuid,
        #[allow(dead_code, reason = "by it a stub is known")]
        gone_at: DateTime,
    },
    Job(Box<JobDoc>),
}

impl Stored {
    pub(crate) fn job_id(&self) -> JobId {
        match self {
            Self::Stub { id, .. } => JobKey::Job(*id).job_id(),
            Self::Job(job) => job.job_id(),
        }
    }
}

/// Jobs have their id, copies of earlier runs a run's.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum JobKey {
    Job(Uuid),
    Run(RunId),
}

/// Where the broker has stored a job's latest announcement.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Announced {
    pub(crate) generations: Generations,
    pub(crate) sequence: i64,
}

/// Of which generations of the streams that is true.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Generations {
    pub(crate) jobs: i64,
}

impl JobKey {
    fn job_id(self) -> JobId {
        match self {
            Self::Job(id) => JobId::from(uuid::Uuid::from_bytes(id.bytes())),
            Self::Run(id) => id.job,
        }
    }
}

impl JobDoc {
    pub(crate) fn job_id(&self) -> JobId {
        self.id.job_id()
    }
}

/// A run, as the ledger keeps it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RunDoc {
    #[serde(rename = "_id")]
    pub(crate) id: RunId,
    pub(crate) status: Status,
    pub(crate) attempt: u32,
    pub(crate) charged: u32,
    pub(crate) max_attempts: u32,
    #[serde(default)]
    pub(crate) lost: u32,
    pub(crate) lease_until: Option<DateTime>,
    pub(crate) duty: Option<String>,
    pub(crate) due: Option<DateTime>,
    pub(crate) ended_at: Option<DateTime>,
    pub(crate) error: Option<JobError>,
    pub(crate) reason: Option<CancelReason>,
    #[serde(default)]
    pub(crate) attempts: Vec<AttemptSummary>,
}

impl RunDoc {
    /// Whether it runs and is not among what is due: its announcement, unacked, carries it.
    pub(crate) fn is_carried(&self) -> bool {
        self.status == Status::Running && self.duty.is_none() && self.due.is_none()
    }
}

/// All that is known of one job.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: JobId,
    pub(crate) job: Option<JobDoc>,
    pub(crate) earlier: Vec<JobDoc>,
    pub(crate) runs: Vec<RunDoc>,
    /// The job is gone, and a stub has stayed.
    pub(crate) buried: bool,
}

impl Group {
    pub(crate) const fn empty(id: JobId) -> Self {
        Self { id, job: None, earlier: Vec::new(), runs: Vec::new(), buried: false }
    }

    /// Puts in what is stored under the job's id.
    pub(crate) fn put(&mut self, stored: Stored) {
        match stored {
            Stored::Stub { .. } => self.buried = true,
            Stored::Job(job) => self.job = Some(*job),
        }
    }

    /// Whether all its runs have ended, and nothing is left to do about them.
    pub(crate) fn is_over(&self) -> bool {
        let job =
            self.job.iter().chain(&self.earlier).all(|job| job.status.is_terminal() && job.duty.is_none());
        job && self.runs.iter().all(|run| run.status.is_terminal() && run.duty.is_none())
    }
}
