//! Every database call about jobs. Here: storing and reading them, and their indexes.

mod apply;
mod gone;
mod lifecycle;
mod list;
mod outbox;
mod streams;

pub(super) use gone::{Holder, Kept};
pub(super) use lifecycle::OPEN;
pub(super) use list::Load;
pub use outbox::{Note, OpenJob, Taken};

use std::{sync::Arc, time::Duration};

use bson::{DateTime, Uuid, doc};
use mongodb::{IndexModel, options::IndexOptions};
use service_kit::{GroupCommit, GroupLimits, Mongo, StoreError, Weigh, faults::Safeguard, mongo::DEADLINE};
use shared_events::JobId;
use tokio::sync::OnceCell;

use super::{Job, document::stored_id};

/// Jobs, and stubs of those that are gone.
pub(super) const JOBS: &str = "jobs";
/// Runs that a retry has replaced, each as its job's document was.
pub(super) const EARLIER_RUNS: &str = "earlier_runs";
/// What is known of the broker's streams.
const STATE: &str = "state";

const OBJECT_WINDOW: &str = "object_window";
const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// Under load, the longest time from one command of inserts to the next: somebody waits for each.
const PACE: Duration = Duration::from_millis(8);

/// The jobs that this service knows.
#[derive(Clone)]
pub struct Jobs {
    mongo: Mongo,
    indexes: Arc<OnceCell<()>>,
    inserts: GroupCommit<Arc<Job>, Inserted>,
    notes: GroupCommit<Note, ()>,
}

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored, journaled.
    Stored,
    /// Another job holds the object's window or has the idempotency key.
    Taken,
}

/// What a unique index keeps for one job at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The window of an object.
    Window,
    /// An idempotency key.
    Key,
}

impl Claim {
    const fn field(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Key => "idempotency_key",
        }
    }
}

impl Weigh for Job {
    fn weight(&self) -> usize {
        self.payload.as_ref().map_or(0, String::len) + 600
    }
}

impl Jobs {
    /// Prepares the store.
    #[must_use]
    pub fn new(mongo: Mongo) -> Self {
        let limits = GroupLimits { pace: PACE, ..GroupLimits::default() };
        let inserts = {
            let mongo = mongo.clone();
            GroupCommit::start(limits, move |jobs| commit_inserts(mongo.clone(), jobs))
        };
        let notes = {
            let mongo = mongo.clone();
            GroupCommit::start(limits, move |notes| outbox::commit_notes(mongo.clone(), notes))
        };
        Self { mongo, indexes: Arc::default(), inserts, notes }
    }

    /// The database.
    #[must_use]
    pub const fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// Makes sure, once, that the indexes are there: two that are unique, one for everything that is due, one for what
    /// waits for room in the broker, and one by which the database removes stubs whose time is over.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.indexes.get_or_try_init(|| self.create_indexes()).await.copied()
    }

    async fn create_indexes(&self) -> Result<(), StoreError> {
        let there = |field: &str| doc! { field: { "$exists": true } };
        let unique = |name: &str, claim: Claim| {
            let options = IndexOptions::builder()
                .name(name.to_owned())
                .unique(!Safeguard::UniqueIndexes.is_off())
                .partial_filter_expression(there(claim.field()))
                .build();
            IndexModel::builder().keys(doc! { claim.field(): 1 }).options(options).build()
        };
        let due = IndexOptions::builder().partial_filter_expression(there("due")).build();
        let without_room =
            IndexOptions::builder().partial_filter_expression(doc! { "duty": "await_room" }).build();
        let until =
            IndexOptions::builder().partial_filter_expression(there("until")).expire_after(Duration::ZERO);
        let indexes = [
            unique(OBJECT_WINDOW, Claim::Window),
            unique(IDEMPOTENCY_KEY, Claim::Key),
            IndexModel::builder().keys(doc! { "duty": 1, "due": 1 }).options(due).build(),
            // Has no entry as long as every queue has room.
            IndexModel::builder()
                .keys(doc! { "duty": 1, "queue": 1, "due": 1 })
                .options(without_room)
                .build(),
            IndexModel::builder().keys(doc! { "until": 1 }).options(until.build()).build(),
        ];
        let by_job = IndexModel::builder().keys(doc! { "job": 1, "run": -1 }).build();
        let jobs = self.mongo.collection::<Job>(JOBS);
        let earlier = self.mongo.collection::<bson::Document>(EARLIER_RUNS);
        self.mongo
            .run(async move {
                jobs.create_indexes(indexes).await?;
                earlier.create_index(by_job).await
            })
            .await
            .map(drop)
    }

    /// Stores a new job, journaled.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn insert(&self, job: Arc<Job>) -> Result<Inserted, StoreError> {
        let insert = async {
            // Without the unique indexes neither a window nor a key would refuse anybody.
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
        self.find_one(doc! { "_id": stored_id(id), "status": { "$exists": true } }).await
    }

    /// Ends a hold that is over, if that job or its stub still has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn end_hold(&self, claim: Claim, holder: Uuid, value: &str) -> Result<(), StoreError> {
        let held = doc! { "_id": holder, claim.field(): value };
        let jobs = self.mongo.collection::<Job>(JOBS);
        let end = async move { jobs.update_one(held, doc! { "$unset": { claim.field(): "" } }).await };
        self.mongo.run(end).await.map(drop)
    }

    /// The time of the database, `duration` from now.
    #[must_use]
    pub fn after(&self, duration: Duration) -> DateTime {
        self.mongo.clock().after(duration)
    }

    async fn find_one(&self, filter: bson::Document) -> Result<Option<Job>, StoreError> {
        self.mongo.read_one(JOBS, filter).await
    }
}

async fn commit_inserts(mongo: Mongo, jobs: Vec<Arc<Job>>) -> Vec<Result<Inserted, StoreError>> {
    let documents: Vec<&Job> = jobs.iter().map(Arc::as_ref).collect();
    let inserted = match mongo.insert_many(JOBS, &documents).await {
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
