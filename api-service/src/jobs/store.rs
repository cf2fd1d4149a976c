//! Every database call about jobs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bson::{DateTime, RawDocumentBuf, Uuid, doc, oid::ObjectId, rawdoc};
use futures::TryStreamExt;
use mongodb::{IndexModel, options::IndexOptions};
use serde::Serialize;
use service_kit::{
    GroupCommit, GroupLimits, Mongo, StoreError, Weigh,
    mongo::{Durability, Statement},
};
use shared_events::{
    AttemptSummary, CancelReason, JobError, JobEvent, JobId, JobRetrying, JobStarted, Position, Status,
    WorkerId,
};
use tokio::sync::OnceCell;

use super::{
    Announcement, Job,
    document::{date, order, stored_id},
};

const JOBS: &str = "jobs";

/// The unique index that holds an object's window.
const OBJECT_WINDOW: &str = "object_window";

/// The jobs that this service knows.
#[derive(Clone)]
pub struct Jobs {
    mongo: Mongo,
    indexes: Arc<OnceCell<()>>,
    inserts: GroupCommit<Job, Inserted>,
    noted: GroupCommit<Noted, ()>,
}

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored, journaled.
    Stored,
    /// Another job holds the object's window.
    WindowTaken,
}

/// What became of a batch of events.
#[derive(Debug, Default)]
pub struct Applied {
    /// Positions in the batch of events about jobs that are not known.
    pub unknown: Vec<usize>,
}

/// An announcement that the broker has stored.
#[derive(Debug)]
struct Noted {
    id: Uuid,
    run: u32,
    epoch: u32,
    announcement: Announcement,
    check_at: DateTime,
}

impl Weigh for Job {
    fn weight(&self) -> usize {
        self.payload.len() + 600
    }
}

impl Weigh for Noted {
    fn weight(&self) -> usize {
        250
    }
}

impl Jobs {
    /// Prepares the store.
    #[must_use]
    pub fn new(mongo: Mongo) -> Self {
        let limits = GroupLimits::default();
        let inserts = {
            let mongo = mongo.clone();
            GroupCommit::start(limits, move |jobs| commit_inserts(mongo.clone(), jobs))
        };
        let noted = {
            let mongo = mongo.clone();
            GroupCommit::start(GroupLimits { lanes: 1, ..limits }, move |noted| {
                commit_noted(mongo.clone(), noted)
            })
        };
        Self { mongo, indexes: Arc::default(), inserts, noted }
    }

    /// The database.
    #[must_use]
    pub const fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// Makes sure, once, that the indexes are there: one that is unique, one for everything that is due.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.indexes.get_or_try_init(|| self.create_indexes()).await.copied()
    }

    async fn create_indexes(&self) -> Result<(), StoreError> {
        let there = |field: &str| doc! { field: { "$exists": true } };
        let window = IndexOptions::builder()
            .name(OBJECT_WINDOW.to_owned())
            .unique(true)
            .partial_filter_expression(there("window"))
            .build();
        let due = IndexOptions::builder().partial_filter_expression(there("due")).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "window": 1 }).options(window).build(),
            IndexModel::builder().keys(doc! { "duty": 1, "due": 1 }).options(due).build(),
        ];
        let jobs = self.mongo.collection::<Job>(JOBS);
        self.mongo.run(async move { jobs.create_indexes(indexes).await }).await.map(drop)
    }

    /// Stores a new job, journaled.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn insert(&self, job: Job) -> Result<Inserted, StoreError> {
        // Without the unique index an object's window would refuse nobody.
        self.prepare().await?;
        self.inserts.submit(job).await
    }

    /// The job with this id.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.find_one(doc! { "_id": stored_id(id) }).await
    }

    /// The job that holds the window of this object.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn window_holder(&self, object_id: &str) -> Result<Option<Job>, StoreError> {
        self.find_one(doc! { "window": object_id }).await
    }

    /// Ends the window of this object, if that job still holds it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn end_window(&self, holder: &Job, object_id: &str) -> Result<(), StoreError> {
        let held = doc! { "_id": holder.id, "window": object_id };
        let jobs = self.mongo.collection::<Job>(JOBS);
        let end = async move { jobs.update_one(held, doc! { "$unset": { "window": "" } }).await };
        self.mongo.run(end).await.map(drop)
    }

    /// Takes the outbox mark off a job whose announcement the broker has stored, and notes where;
    /// from `check_at` on a job that stayed silent is looked at.
    ///
    /// # Errors
    /// Where the database did not do it; a scan will announce again.
    pub async fn note_announced(
        &self,
        job: JobId,
        run: u32,
        epoch: u32,
        announcement: Announcement,
        check_at: DateTime,
    ) -> Result<(), StoreError> {
        self.noted.submit(Noted { id: stored_id(job), run, epoch, announcement, check_at }).await
    }

    /// How many outbox marks there are, counted up to `most`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn count_unannounced(&self, most: u64) -> Result<u64, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        let marked = doc! { "duty": "announce", "due": { "$gte": DateTime::MIN } };
        self.mongo.run(async move { jobs.count_documents(marked).limit(most).await }).await
    }

    /// Up to `most` jobs that were not announced in time. Replicas share them: whoever moves a job's
    /// `due` forward, to `again_at`, has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_unannounced(&self, most: usize, again_at: DateTime) -> Result<Vec<Job>, StoreError> {
        let due = doc! { "duty": "announce", "due": { "$lte": self.mongo.clock().now() } };
        let found: Vec<Job> = self.find(due.clone(), i64::try_from(most).unwrap_or(i64::MAX)).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = found.iter().map(|job| job.id).collect();
        let sweep = ObjectId::new();
        let mut mine = due;
        mine.insert("_id", doc! { "$in": &ids });
        let jobs = self.mongo.collection::<Job>(JOBS);
        let forward = doc! { "$set": { "due": again_at, "sweep": sweep } };
        self.mongo.run(async move { jobs.update_many(mine, forward).await }).await?;
        self.find(doc! { "_id": { "$in": ids }, "sweep": sweep }, 0).await
    }

    /// Applies events in their order: each as a conditional write that says what the transition says.
    ///
    /// # Errors
    /// Where it is not known whether all were applied: apply them again.
    pub async fn apply(&self, events: &[JobEvent]) -> Result<Applied, StoreError> {
        let statements = latest(events).into_values().map(statement).collect::<Result<Vec<_>, _>>()?;
        let all = statements.len() as u64;
        let mongo = self.mongo.clone();
        let update = tokio::spawn(async move { mongo.update(JOBS, statements, Durability::Journaled).await });
        if update.await.map_err(|_| StoreError::Unknown)?? == all {
            return Ok(Applied::default());
        }
        // News that is not above what is stored changes nothing; news of no known job is put aside.
        let known = self.known(events).await?;
        let unknown =
            (0..events.len()).filter(|index| !known.contains(&stored_id(events[*index].run_id().job)));
        Ok(Applied { unknown: unknown.collect() })
    }

    async fn known(&self, events: &[JobEvent]) -> Result<HashSet<Uuid>, StoreError> {
        let ids: Vec<Uuid> = events.iter().map(|event| stored_id(event.run_id().job)).collect();
        let jobs = self.mongo.collection::<bson::Document>(JOBS);
        let found: Vec<bson::Document> = self
            .mongo
            .run(async move {
                jobs.find(doc! { "_id": { "$in": ids } })
                    .projection(doc! { "_id": 1 })
                    .await?
                    .try_collect()
                    .await
            })
            .await?;
        let id = |document: &bson::Document| match document.get("_id") {
            Some(bson::Bson::Binary(binary)) => binary.to_uuid().ok(),
            _ => None,
        };
        Ok(found.iter().filter_map(id).collect())
    }

    async fn find_one(&self, filter: bson::Document) -> Result<Option<Job>, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        self.mongo.run(async move { jobs.find_one(filter).await }).await
    }

    /// At most `most` jobs; 0 stands for all.
    async fn find(&self, filter: bson::Document, most: i64) -> Result<Vec<Job>, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        self.mongo.run(async move { jobs.find(filter).limit(most).await?.try_collect().await }).await
    }
}

async fn commit_inserts(mongo: Mongo, jobs: Vec<Job>) -> Vec<Result<Inserted, StoreError>> {
    let inserted = match mongo.insert_many(JOBS, &jobs).await {
        Ok(inserted) => inserted,
        Err(error) => return jobs.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut answers: Vec<Result<Inserted, StoreError>> = jobs.iter().map(|_| Ok(Inserted::Stored)).collect();
    for (index, message) in inserted.duplicates {
        answers[index] = if message.contains(OBJECT_WINDOW) {
            Ok(Inserted::WindowTaken)
        } else {
            Err(StoreError::Unreadable(message))
        };
    }
    for (index, error) in inserted.refused {
        answers[index] = Err(error);
    }
    answers
}

async fn commit_noted(mongo: Mongo, noted: Vec<Noted>) -> Vec<Result<(), StoreError>> {
    let statement = |noted: &Noted| {
        Statement::one(
            rawdoc! {
                "_id": bson::Binary::from(noted.id),
                "run": i64::from(noted.run),
                "epoch": i64::from(noted.epoch),
                "duty": "announce",
            },
            rawdoc! { "$set": {
                "duty": "check",
                "due": noted.check_at,
                "announced": { "sequence": noted.announcement.sequence, "at": noted.announcement.at },
            } },
        )
    };
    let done =
        mongo.update(JOBS, noted.iter().map(statement).collect(), Durability::InMemory).await.map(drop);
    noted.iter().map(|_| done.clone()).collect()
}

/// Of several events about one job, the one that counts in the end.
fn latest(events: &[JobEvent]) -> HashMap<JobId, &JobEvent> {
    let mut latest: HashMap<JobId, &JobEvent> = HashMap::with_capacity(events.len());
    for event in events {
        let job = event.run_id().job;
        let current = latest.entry(job).or_insert(event);
        if shared_events::transition(current.position(), event.position()).is_some() {
            *current = event;
        }
    }
    latest
}

/// What an event sets.
#[derive(Serialize)]
struct Change<'a> {
    status: Status,
    order: i64,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CancelReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<&'a [AttemptSummary]>,
}

/// The event as a conditional write: [`shared_events::transition`] in the terms of a filter.
fn statement(event: &JobEvent) -> Result<Statement, StoreError> {
    let (run_id, position) = (event.run_id(), event.position());
    let mut filter = rawdoc! {
        "_id": bson::Binary::from(stored_id(run_id.job)),
        "run": i64::from(run_id.run),
        "status": { "$in": [Status::Queued.as_str(), Status::Running.as_str()] },
    };
    let set = raw(&change(event, position))?;
    let update = if position.status.is_terminal() {
        rawdoc! { "$set": set, "$unset": { "duty": "", "due": "" } }
    } else {
        filter.append(bson::raw::cstr!("order"), rawdoc! { "$lt": order(position) });
        rawdoc! { "$set": set }
    };
    Ok(Statement::one(filter, update))
}

fn change(event: &JobEvent, position: Position) -> Change<'_> {
    let blank = Change {
        status: position.status,
        order: order(position),
        attempt: 0,
        worker: None,
        started_at: None,
        next_at: None,
        ended_at: None,
        result: None,
        error: None,
        reason: None,
        attempts: None,
    };
    match event {
        JobEvent::Started(JobStarted { attempt, worker, started_at, .. }) => {
            Change { attempt: *attempt, worker: Some(worker), started_at: Some(date(*started_at)), ..blank }
        }
        JobEvent::Retrying(JobRetrying { attempt, next_at, attempts, .. }) => {
            let worker = attempts.last().map(|attempt| &attempt.worker);
            let started_at = attempts.last().map(|attempt| date(attempt.started_at));
            let next_at = Some(date(*next_at));
            Change { attempt: *attempt, worker, started_at, next_at, attempts: Some(attempts), ..blank }
        }
        JobEvent::Ended(_, ended) => Change {
            attempt: ended.attempt,
            worker: ended.attempts.last().map(|attempt| &attempt.worker),
            started_at: ended.started_at.map(date),
            ended_at: Some(date(ended.ended_at)),
            result: ended.result.as_ref().map(shared_events::JsonText::as_str),
            error: ended.error.as_ref(),
            reason: ended.reason,
            attempts: Some(&ended.attempts),
            ..blank
        },
    }
}

fn raw(value: &impl Serialize) -> Result<RawDocumentBuf, StoreError> {
    bson::serialize_to_raw_document_buf(value).map_err(|error| StoreError::Unreadable(error.to_string()))
}
