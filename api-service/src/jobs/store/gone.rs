//! Jobs that go, by a client's wish or when their time is over, and what stays in their place.
//!
//! A stub is a document of the same collection, under the same id and the same unique indexes: what was promised about
//! keys or an id outlives its job without a moment in between. It has no status, by which every reader of jobs
//! passes over it; the database removes it at `until`.

use std::time::Duration;

use bson::{DateTime, Document, RawArrayBuf, RawDocumentBuf, Uuid, doc, rawdoc};
use mongodb::options::{FindOptions, Hint};
use serde::Deserialize;
use service_kit::{
    StoreError,
    failpoints::failpoint,
    mongo::{DEADLINE, Durability, Statement},
    retention,
};
use shared_events::Status;
use tracing::warn;

use super::{
    super::{
        Job,
        model::LARGE,
        remains::{Life, Remains},
    },
    EARLIER_RUNS, JOBS, Jobs, KEPT_INDEX, UniqueKey,
};

/// What stays of a job that is gone, as far as it is read; see `Kept::bury` for all of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Stub {
    /// The job's id.
    #[serde(rename = "_id")]
    pub id: Uuid,
    /// SHA-256 of what was asked for under its idempotency key.
    pub idempotency_hash: Option<String>,
    /// When the job was created.
    pub created_at: DateTime,
    /// When it went.
    pub gone_at: DateTime,
    /// When the stub goes.
    pub until: DateTime,
}

/// Who has a unique key.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Holder {
    /// A job.
    Job(Box<Job>),
    /// A job that is gone.
    Gone(Stub),
}

impl Holder {
    pub(in super::super) const fn id(&self) -> Uuid {
        match self {
            Self::Job(job) => job.id,
            Self::Gone(stub) => stub.id,
        }
    }

    pub(in super::super) const fn created_at(&self) -> DateTime {
        match self {
            Self::Job(job) => job.created_at,
            Self::Gone(stub) => stub.created_at,
        }
    }

    pub(in super::super) fn idempotency_hash(&self) -> Option<&str> {
        match self {
            Self::Job(job) => job.idempotency_hash.as_deref(),
            Self::Gone(stub) => stub.idempotency_hash.as_deref(),
        }
    }
}

/// A job as far as it matters for whether it stays.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(in super::super) struct Kept {
    #[serde(rename = "_id")]
    pub(in super::super) id: Uuid,
    run: u32,
    status: Status,
    created_at: DateTime,
    ended_at: Option<DateTime>,
    keep_s: Option<u32>,
}

impl Kept {
    /// The fields that it is read from.
    pub(in super::super) const FIELDS: &'static [&'static str] =
        &["run", "status", "created_at", "ended_at", "keep_s"];

    /// Reads it; none where the document is a stub, or not as this version writes it: that stays.
    pub(in super::super) fn read(document: Document) -> Option<Self> {
        bson::deserialize_from_document(document).ok()
    }

    /// What is left of it at `now`, where jobs are kept for `kept` after their end.
    pub(in super::super) fn remains(&self, now: DateTime, kept: Duration) -> Remains {
        let kept = self.keep_s.map_or(kept, |keep_s| Duration::from_secs(keep_s.into()).min(kept));
        let ended_at = self.ended_at.filter(|_| self.status.is_terminal());
        Life { created_at: self.created_at, ended_at }.remains(now, kept)
    }

    /// A filter of the job as it was read.
    fn unchanged(&self) -> RawDocumentBuf {
        rawdoc! {
            "_id": bson::Binary::from(self.id),
            "run": i64::from(self.run),
            "status": self.status.as_str(),
        }
    }

    /// Puts the stub in the place of the job, if that is still as it was read.
    fn bury(&self, gone_at: DateTime, until: DateTime) -> Statement {
        // A field that the job does not have the stub does not have either.
        let stub = rawdoc! { "$replaceWith": {
            "_id": "$_id",
            "dedup_key": "$dedup_key",
            "idempotency_key": "$idempotency_key",
            "idempotency_hash": "$idempotency_hash",
            "created_at": "$created_at",
            "gone_at": gone_at,
            "until": until,
        } };
        let mut pipeline = RawArrayBuf::new();
        pipeline.push(stub);
        Statement { filter: self.unchanged(), update: pipeline.into(), multi: false }
    }
}

impl From<&Job> for Kept {
    fn from(job: &Job) -> Self {
        let Job { id, run, status, created_at, ended_at, keep_s, .. } = *job;
        Self { id, run, status, created_at, ended_at, keep_s }
    }
}

impl Jobs {
    /// The job that has this key, or had it when it went; `brief` reads it without its payload and result.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where this version can not read it; where the database does not answer.
    pub(in super::super) async fn holder(
        &self,
        key: UniqueKey,
        value: &str,
        brief: bool,
    ) -> Result<Option<Holder>, StoreError> {
        let held = doc! { key.field(): value };
        let left_out: &[&str] = if brief { LARGE } else { &[] };
        let found = self.mongo.read_one_without::<Document>(JOBS, held, left_out).await?;
        let Some(found) = found else { return Ok(None) };
        let read = if found.contains_key("gone_at") {
            bson::deserialize_from_document(found).map(Holder::Gone)
        } else {
            bson::deserialize_from_document(found).map(Box::new).map(Holder::Job)
        };
        read.map(Some).map_err(|error| {
            warn!(%error, "the job that has a key is not readable");
            StoreError::Unreadable(error.to_string())
        })
    }

    /// Removes an ended job and its earlier runs, if it is still as it was read; what was promised about it stays.
    /// False where it runs again.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn delete(&self, ended: &Job) -> Result<bool, StoreError> {
        let now = self.mongo.clock().now();
        let until = Life::from(ended).promised_until(ended.ended_at.unwrap_or(now));
        let bury = vec![Kept::from(ended).bury(now, until)];
        let mongo = self.mongo.clone();
        let removing = async move { mongo.update(JOBS, bury, Durability::Journaled).await };
        if self.mongo.within(DEADLINE, removing).await? == 0 {
            // Somebody else was faster: either it runs again, or it is gone.
            return Ok(self.get(ended.job_id()).await?.is_none());
        }
        failpoint("api.delete.removed");
        self.mongo.delete_many(EARLIER_RUNS, doc! { "job": ended.id }).await?;
        Ok(true)
    }

    /// The next longer time than this, in seconds, for which an ended job is kept that says so itself.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(in super::super) async fn next_time_kept(&self, longer_than: u32) -> Result<Option<u32>, StoreError> {
        // From value to value along the index: there may be many jobs with each.
        let longer = doc! { "keep_s": { "$gt": i64::from(longer_than) } };
        let jobs = self.mongo.collection::<Document>(JOBS);
        let found = self
            .mongo
            .run(async move {
                let first =
                    jobs.find_one(longer).sort(doc! { "keep_s": 1 }).hint(Hint::Name(KEPT_INDEX.to_owned()));
                first.projection(doc! { "_id": 0, "keep_s": 1 }).await
            })
            .await?;
        Ok(found.and_then(|job| bson::deserialize_from_bson(job.get("keep_s")?.clone()).ok()))
    }

    /// Of the jobs that are kept for `keep_s`, those whose latest run ended before `before`, the first to end first.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(in super::super) async fn ended_and_kept_for(
        &self,
        keep_s: u32,
        before: DateTime,
        limit: usize,
    ) -> Result<Vec<Kept>, StoreError> {
        let over = doc! { "keep_s": i64::from(keep_s), "ended_at": { "$lte": before } };
        let fields: Document = Kept::FIELDS.iter().map(|field| ((*field).to_owned(), 1.into())).collect();
        let options = FindOptions::builder()
            .sort(doc! { "ended_at": 1 })
            .limit(limit as i64)
            .projection(fields)
            .build();
        Ok(self.mongo.read(JOBS, over, options).await?.documents)
    }

    /// Removes those of these jobs that are still as they were read; says how many.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub(in super::super) async fn remove(&self, jobs: &[Kept]) -> Result<u64, StoreError> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let unchanged: Vec<Document> =
            jobs.iter().filter_map(|job| Document::try_from(job.unchanged()).ok()).collect();
        self.mongo.delete_many(JOBS, doc! { "$or": unchanged }).await
    }

    /// Removes the earlier runs of those of these jobs that are gone.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub(in super::super) async fn remove_earlier_runs_of_gone(
        &self,
        ids: Vec<Uuid>,
    ) -> Result<(), StoreError> {
        let there = doc! { "_id": { "$in": &ids }, "status": { "$exists": true } };
        let jobs = self.mongo.collection::<Document>(JOBS);
        let there = self.mongo.run(async move { jobs.distinct("_id", there).await }).await?;
        let gone = doc! { "job": { "$in": ids, "$nin": there } };
        self.mongo.delete_many(EARLIER_RUNS, gone).await.map(drop)
    }

    /// Puts stubs in the place of those of these jobs that are still as they were read; says how many.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub(in super::super) async fn bury(
        &self,
        jobs: &[(Kept, DateTime)],
        gone_at: DateTime,
    ) -> Result<u64, StoreError> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let statements = jobs.iter().map(|(job, until)| job.bury(gone_at, *until)).collect();
        let mongo = self.mongo.clone();
        let update = async move { mongo.update(JOBS, statements, Durability::InMemory).await };
        self.mongo.within(DEADLINE, update).await
    }

    /// Removes those of these earlier runs that ended before `before`; says how many.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub(in super::super) async fn remove_earlier_runs(
        &self,
        batch: &[Document],
        before: DateTime,
    ) -> Result<u64, StoreError> {
        let over = doc! { "_id": retention::ids(batch), "ended_at": { "$lte": before } };
        self.mongo.delete_many(EARLIER_RUNS, over).await
    }
}
