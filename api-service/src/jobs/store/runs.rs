//! Cancelling, retrying and deleting: conditional writes on the run that was read.

use bson::{DateTime, Uuid, doc, rawdoc};
use futures::TryStreamExt;
use service_kit::{
    StoreError,
    failpoints::failpoint,
    mongo::{DEADLINE, Durability, Fitting, Query, Statement, raw},
    telemetry::chain,
};
use shared_events::Status;
use tracing::warn;

use super::{
    super::{Job, NextAction, model::Cancel},
    EARLIER_RUNS, JOBS, Jobs,
};

/// How many runs one command copies: it looks each one's id up in a list.
const COPIED_AT_ONCE: usize = 200;

/// The states of a run that the ledger may know and that has not ended.
const ANNOUNCED: [&str; 2] = [Status::Queued.as_str(), Status::Running.as_str()];

/// The most bytes of earlier runs that are read at once: each has one attempt at least, and a hundred are shown.
pub(in super::super) const EARLIER_BYTES: usize = 4 << 20;

impl Jobs {
    /// Stores the request to cancel these runs, with its outbox mark inside; says how many of them had
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
                "status": { "$in": [ANNOUNCED[0], ANNOUNCED[1]] },
                "cancel": { "$exists": false },
            };
            let set = rawdoc! {
                "cancel": cancel.clone(),
                "next_action": NextAction::Cancel.as_str(),
                "next_action_at": announce_by,
            };
            Statement::one(open, rawdoc! { "$set": set })
        };
        let statements = jobs.iter().map(statement).collect();
        let mongo = self.mongo.clone();
        let update = async move { mongo.update(JOBS, statements, Durability::Journaled).await };
        self.mongo.within(DEADLINE, update).await
    }

    /// Starts the next run of each of these ended jobs, unless it was started or the job deleted
    /// meanwhile; says how many. The run that ended is kept among the earlier ones. Where the database
    /// refuses one of them, the others start all the same.
    ///
    /// # Errors
    /// Where that is not known to be done, or where none was started and one was refused.
    pub async fn start_next_run(
        &self,
        ended: &[Job],
        now: DateTime,
        announce_by: DateTime,
    ) -> Result<u64, StoreError> {
        if ended.is_empty() {
            return Ok(0);
        }
        let statement = |job: &Job| {
            let as_read = rawdoc! {
                "_id": bson::Binary::from(job.id),
                "run": i64::from(job.run),
                "status": job.status.as_str(),
            };
            Statement::one(as_read, job.next_run_update(now, announce_by))
        };
        let statements: Vec<Statement> = ended.iter().map(statement).collect();
        // First the copy: where the next run does not start, it is only a copy too many.
        for jobs in ended.chunks(COPIED_AT_ONCE) {
            self.keep_runs(jobs).await?;
        }
        failpoint("api.retry.copied");
        let mongo = self.mongo.clone();
        let start = async move { mongo.update_each(JOBS, statements, Durability::Journaled).await };
        let started = self.mongo.within(DEADLINE, start).await?;
        for error in &started.refused {
            warn!(error = chain(error), "a job's next run was refused by the database");
        }
        match started.refused.into_iter().next() {
            Some(error) if started.matched == 0 => Err(error),
            _ => Ok(started.matched),
        }
    }

    /// Keeps the runs that these jobs have ended among the earlier ones. The database copies them itself, so that
    /// the copies have also those fields that this version does not know.
    async fn keep_runs(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
        let texts: Vec<String> = jobs.iter().map(|job| job.job_id().to_string()).collect();
        let over: Vec<&str> =
            Status::ALL.into_iter().filter(|status| status.is_terminal()).map(Status::as_str).collect();
        let ended = doc! { "_id": { "$in": &ids }, "status": { "$in": over } };
        let place = doc! { "$indexOfArray": [{ "$literal": &ids }, "$_id"] };
        let text = doc! { "$arrayElemAt": [{ "$literal": texts }, place] };
        let name = doc! { "$concat": [text, ".", { "$toString": "$run" }] };
        let keep = [
            doc! { "$match": ended },
            doc! { "$set": { "job": "$_id", "_id": name } },
            doc! { "$merge": { "into": EARLIER_RUNS, "whenMatched": "keepExisting" } },
        ];
        let jobs = self.mongo.collection::<bson::Document>(JOBS);
        self.mongo.run(async move { jobs.aggregate(keep).await }).await.map(drop)
    }

    /// The job's runs before `run`, the latest first, without payloads, results and whole outputs: at most 100, and no more than a few MiB
    /// of their attempts; without those that this version can not read.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn earlier_runs(&self, id: Uuid, run: u32) -> Result<Vec<Job>, StoreError> {
        let latest_first = doc! { "job": 1, "run": -1 };
        let query = Query {
            // A retry that did not come about may have left a copy of the latest run.
            filter: doc! { "job": id, "run": { "$lt": i64::from(run) } },
            sort: Some(latest_first.clone()),
            hint: None,
            without: &["payload", "result", "output"],
            most: 100,
            max_bytes: EARLIER_BYTES,
        };
        let Fitting { ids, .. } = self.mongo.fitting(EARLIER_RUNS, query).await?;
        let earlier = self.mongo.collection::<bson::Document>(EARLIER_RUNS);
        let documents: Vec<bson::Document> = self
            .mongo
            .run(async move {
                let found = earlier.find(doc! { "_id": { "$in": ids } }).sort(latest_first);
                found.projection(doc! { "payload": 0, "result": 0, "output": 0 }).await?.try_collect().await
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
