//! Every database call about jobs. Here: storing and reading them, and their indexes.

mod export;
mod gone;
mod indexes;
mod list;
mod of_schedules;
mod runs;
mod scheduled;

pub use export::ExportPage;
pub use gone::Stub;
pub(super) use gone::{Holder, Kept};
pub(super) use list::Load;
pub(super) use of_schedules::{SCHEDULE_FIELD, by_schedule};
pub(super) use runs::EARLIER_BYTES;

use std::{sync::Arc, time::Duration};

use bson::{DateTime, Uuid, doc};
use service_kit::{
    GroupCommit, GroupLimits, Mongo, StoreError, Weigh,
    mongo::DEADLINE,
    telemetry::{chain, traces::Group},
};
use shared_events::JobId;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Job,
    model::{LARGE, stored_id},
};
use crate::traces::{INSERT_JOBS, of_job};

/// Jobs, and stubs of those that are gone.
pub const JOBS: &str = "jobs";
/// Runs that a retry has replaced, each as its job's document was.
pub const EARLIER_RUNS: &str = "earlier_runs";
const DEDUP_KEY: &str = "dedup_key";
const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// The index of jobs that have not ended, by queue, state and priority.
pub const OPEN_JOBS_INDEX: &str = "open_jobs";

/// The index of jobs that say themselves how long they are kept.
const KEPT_INDEX: &str = "kept";

/// Under load, the longest time from one command of inserts to the next: somebody waits for each.
const PACING: Duration = Duration::from_millis(8);

/// How long the database's clock is relied on: this machine may have slept, or that clock been set.
const CLOCK_EVERY: Duration = Duration::from_secs(10);

/// The jobs that this service knows.
#[derive(Clone)]
pub struct Jobs {
    mongo: Mongo,
    indexes: Arc<OnceCell<()>>,
    inserts: GroupCommit<Arc<Job>, Inserted>,
}

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored, journaled.
    Stored,
    /// Another job has the dedup key or the idempotency key.
    Taken,
}

/// What a unique index keeps for one job at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueKey {
    /// The dedup key: an object for which another job is refused.
    Dedup,
    /// An idempotency key.
    Idempotency,
}

impl UniqueKey {
    const fn field(self) -> &'static str {
        match self {
            Self::Dedup => "dedup_key",
            Self::Idempotency => "idempotency_key",
        }
    }
}

impl Weigh for Job {
    fn weight(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        length(&self.payload) + length(&self.result) + 600
    }
}

impl Jobs {
    /// Prepares the store.
    #[must_use]
    pub fn new(mongo: Mongo) -> Self {
        let limits = GroupLimits { name: "jobs", pacing: PACING, ..GroupLimits::default() };
        let inserts = {
            let mongo = mongo.clone();
            GroupCommit::start(limits, move |jobs| commit_inserts(mongo.clone(), jobs))
        };
        Self { mongo, indexes: Arc::default(), inserts }
    }

    /// The database.
    #[must_use]
    pub const fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// Makes the indexes as soon as the database is there, and goes on reading its clock, until told to stop.
    pub async fn prepare_and_follow_clock(&self, stop: &CancellationToken) {
        loop {
            let done = async {
                self.mongo.learn_clock().await?;
                self.prepare().await
            };
            let pause = match done.await {
                Ok(()) => CLOCK_EVERY,
                Err(error) => {
                    warn!(error = chain(&error), "waiting for MongoDB");
                    Duration::from_millis(500)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Stores a new job, journaled.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn insert(&self, job: Arc<Job>) -> Result<Inserted, StoreError> {
        let insert = async {
            // Without the unique indexes no key would refuse anybody.
            self.prepare().await?;
            self.inserts.submit(job).await
        };
        // All of it: where the database hangs, each step and each group before this one takes that long.
        tokio::time::timeout(DEADLINE, insert).await.unwrap_or(Err(StoreError::Unknown))
    }

    /// The job with this id.
    ///
    /// # Errors
    /// Where the database does not answer, or the job is one that this version can not read.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.mongo.read_one(JOBS, by_id(id)).await
    }

    /// Frees a key whose time is over, if that job or its stub still has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn free_key(&self, key: UniqueKey, holder: Uuid, value: &str) -> Result<(), StoreError> {
        let held = doc! { "_id": holder, key.field(): value };
        let jobs = self.mongo.collection::<Job>(JOBS);
        let end = async move { jobs.update_one(held, doc! { "$unset": { key.field(): "" } }).await };
        self.mongo.run(end).await.map(drop)
    }

    /// The time of the database, `duration` from now.
    #[must_use]
    pub fn after(&self, duration: Duration) -> DateTime {
        self.mongo.clock().after(duration)
    }

    /// The same, without what makes it large.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub async fn get_brief(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.mongo.read_one_without(JOBS, by_id(id), LARGE).await
    }
}

/// A stub has no status.
fn by_id(id: JobId) -> bson::Document {
    doc! { "_id": stored_id(id), "status": { "$exists": true } }
}

async fn commit_inserts(mongo: Mongo, jobs: Vec<Arc<Job>>) -> Vec<Result<Inserted, StoreError>> {
    let documents: Vec<&Job> = jobs.iter().map(Arc::as_ref).collect();
    let spans = Group::begin(jobs.iter().map(|job| job.trace));
    let inserted = mongo.insert_many(JOBS, &documents).await;
    if let Some(spans) = spans {
        spans.end_with(&INSERT_JOBS, &inserted, |place, span| span.with(of_job(&jobs[place])));
    }
    let inserted = match inserted {
        Ok(inserted) => inserted,
        Err(error) => return jobs.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut answers: Vec<Result<Inserted, StoreError>> = jobs.iter().map(|_| Ok(Inserted::Stored)).collect();
    for (index, _) in inserted.duplicates {
        answers[index] = Ok(Inserted::Taken);
    }
    for (index, error) in inserted.refused {
        answers[index] = Err(error);
    }
    answers
}
