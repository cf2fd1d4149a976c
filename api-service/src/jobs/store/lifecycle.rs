//! Cancelling, retrying and deleting: conditional writes on the run that was read.

use bson::{DateTime, Uuid, doc, rawdoc};
use futures::TryStreamExt;
use service_kit::{
    StoreError,
    faults::gap,
    mongo::{DEADLINE, Durability, Fitting, Query, Statement, raw},
};
use shared_events::Status;
use tracing::warn;

use super::{
    super::{Job, document::Cancel},
    EARLIER_RUNS, JOBS, Jobs,
};

/// The states that a run can still leave.
pub(in super::super) const OPEN: [&str; 2] = [Status::Queued.as_str(), Status::Running.as_str()];

/// The most bytes of earlier runs that are read at once: each has one attempt at least, and a hundred are shown.
const EARLIER_BYTES: usize = 4 << 20;

impl Jobs {
    /// Stores the wish to cancel these runs, with its outbox mark inside; says how many of them had
    /// neither ended nor been asked to before.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn request_cancel(
        &self,
        jobs: &[Job],
        reason: Option<&str>,
        announce_by: DateTime,
    ) -> Result<u64, StoreError> {
        let cancel =
            raw(&Cancel { requested_at: self.mongo.clock().now(), reason: reason.map(str::to_owned) })?;
        let statement = |job: &Job| {
            let open = rawdoc! {
                "_id": bson::Binary::from(job.id),
                "run": i64::from(job.run),
                "status": { "$in": [OPEN[0], OPEN[1]] },
                "cancel": { "$exists": false },
            };
            let set = rawdoc! { "cancel": cancel.clone(), "duty": "cancel", "due": announce_by };
            Statement::one(open, rawdoc! { "$set": set })
        };
        let statements = jobs.iter().map(statement).collect();
        let mongo = self.mongo.clone();
        let update = async move { mongo.update(JOBS, statements, Durability::Journaled).await };
        self.mongo.within(DEADLINE, update).await
    }

    /// Starts the next run of each of these ended jobs, unless it was started or the job deleted
    /// meanwhile; says how many. The run that ended is kept among the earlier ones.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn start_next_run(&self, ended: &[Job], announce_by: DateTime) -> Result<u64, StoreError> {
        let mut statements = Vec::with_capacity(ended.len());
        let mut keep = Vec::with_capacity(ended.len());
        for job in ended {
            let as_read = rawdoc! {
                "_id": bson::Binary::from(job.id),
                "run": i64::from(job.run),
                "status": job.status.as_str(),
            };
            statements.push(Statement::one(as_read, raw(&job.next_run(announce_by))?));
            let mut document = bson::serialize_to_document(job)
                .map_err(|error| StoreError::Unreadable(error.to_string()))?;
            document.insert("_id", format!("{}.{}", job.job_id(), job.run));
            document.insert("job", job.id);
            keep.push(document);
        }
        let mongo = self.mongo.clone();
        let start = async move {
            // First the copy: where the next run does not start, it is only a copy too many.
            if let Some((_, error)) = mongo.insert_many(EARLIER_RUNS, &keep).await?.refused.into_iter().next()
            {
                return Err(error);
            }
            gap("api.retry.copied");
            mongo.update(JOBS, statements, Durability::Journaled).await
        };
        self.mongo.within(DEADLINE, start).await
    }

    /// The job's earlier runs, the latest first, without payloads and results: at most 100, and no more than a few MiB
    /// of their attempts; without those that this version can not read.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn earlier_runs(&self, id: Uuid) -> Result<Vec<Job>, StoreError> {
        let latest_first = doc! { "job": 1, "run": -1 };
        let query = Query {
            filter: doc! { "job": id },
            sort: Some(latest_first.clone()),
            hint: None,
            without: &["payload", "result"],
            most: 100,
            max_bytes: EARLIER_BYTES,
        };
        let Fitting { ids, .. } = self.mongo.fitting(EARLIER_RUNS, query).await?;
        let earlier = self.mongo.collection::<bson::Document>(EARLIER_RUNS);
        let documents: Vec<bson::Document> = self
            .mongo
            .run(async move {
                let found = earlier.find(doc! { "_id": { "$in": ids } }).sort(latest_first);
                found.projection(doc! { "payload": 0, "result": 0 }).await?.try_collect().await
            })
            .await?;
        // Those that only a newer version can read are left out.
        let read = |mut document: bson::Document| {
            document.insert("_id", id);
            let read = bson::deserialize_from_document(document);
            read.inspect_err(|error| warn!(%error, job.id = %id, "earlier run is not readable; left out"))
                .ok()
        };
        Ok(documents.into_iter().filter_map(read).collect())
    }
}
