//! What claims are made of: runs that were not known are inserted, others changed as they were read.

use bson::{Document, doc};
use mongodb::options::FindOptions;
use service_kit::{
    StoreError,
    mongo::{self, Durability, Fitting, Inserted, Query, Statement, raw},
};
use shared_events::{RunId, Status, WorkerId};

use super::{super::Run, Core, Ledger, RUNS, Runs, scans::TAKEN_BYTES};

impl Ledger {
    /// Inserts runs, journaled; says which of them were known.
    ///
    /// # Errors
    /// Where nothing is known of any of them.
    pub async fn insert(&self, runs: &[Run]) -> Result<Inserted, StoreError> {
        self.core.mongo.insert_many(RUNS, runs).await
    }

    /// Runs by their ids.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn find(&self, ids: &[RunId]) -> Result<Runs, StoreError> {
        let ids: Vec<String> = ids.iter().map(RunId::to_string).collect();
        self.core.find(doc! { "_id": { "$in": ids } }).await
    }

    /// Makes of each first document its second, if it is still as it was read; answers with those that are so now.
    /// Fields that this version does not know stay as they are. Journaled.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn replace(&self, changes: Vec<(Run, Run)>) -> Result<Vec<Run>, StoreError> {
        self.core.replace(changes).await
    }

    /// Those of these runs that the ledger has as being run by this worker, without their payloads.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn mine_among(&self, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        Ok(self.core.find_without_payloads(self.mine(ids)).await?.runs)
    }

    /// The first of those runs, whole, of a few MiB together.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn load_mine(&self, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        let (filter, most) = (self.mine(ids), ids.len());
        let query = Query { filter, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids: fitting, .. } = self.core.mongo.fitting(RUNS, query).await?;
        // Somebody else may have claimed one since, whose attempt must not be taken for this worker's.
        let mut mine = self.mine(ids);
        mine.insert("_id", doc! { "$in": fitting });
        Ok(self.core.find(mine).await?.runs)
    }

    fn mine(&self, ids: &[RunId]) -> Document {
        let ids: Vec<String> = ids.iter().map(RunId::to_string).collect();
        doc! {
            "_id": { "$in": ids }, "status": Status::Running.as_str(), "worker": self.core.worker.as_str(),
        }
    }
}

impl Core {
    pub(super) async fn replace(&self, changes: Vec<(Run, Run)>) -> Result<Vec<Run>, StoreError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = Vec::with_capacity(changes.len());
        for (read, next) in &changes {
            let as_read = doc! {
                "_id": read.id.to_string(),
                "status": read.status.as_str(),
                "attempt": i64::from(read.attempt),
                "worker": read.worker.as_ref().map(WorkerId::as_str),
                "lease_until": read.lease_until,
                "cancel_requested": read.cancel_requested,
            };
            let update = mongo::diff(&document(read)?, &document(next)?);
            statements.push(Statement::one(raw(&as_read)?, raw(&update)?));
        }
        let all = changes.len() as u64;
        let next: Vec<Run> = changes.into_iter().map(|(_, next)| next).collect();
        if self.mongo.update(RUNS, statements, Durability::Journaled).await? == all {
            return Ok(next);
        }
        let seen = self.glance(next.iter().map(|run| run.id)).await?;
        let in_place = |run: &Run| seen.get(&run.id).is_some_and(|seen| seen.shows(run));
        Ok(next.into_iter().filter(in_place).collect())
    }

    /// Runs that are not to be run or written back.
    pub(super) async fn find_without_payloads(&self, filter: Document) -> Result<Runs, StoreError> {
        let options = FindOptions::builder().projection(doc! { "payload": 0 }).build();
        Ok(Runs::of(self.mongo.read(RUNS, filter, options).await?))
    }
}

fn document(run: &Run) -> Result<Document, StoreError> {
    bson::serialize_to_document(run).map_err(|error| StoreError::Unreadable(error.to_string()))
}
