//! What the scans take: runs that are due, and runs that were not announced. Each loads a bounded number of bytes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bson::{DateTime, Document, doc};
use mongodb::options::FindOptions;
use service_kit::{
    StoreError,
    mongo::{DEADLINE, Fitting, Query},
};
use shared_events::{Queue, RunId, Status};

use super::{super::Run, Claimed, Core, Ledger, RUNS, Runs};
use crate::held::Claiming;

/// The most bytes of the runs that a scan takes at a time.
pub(super) const TAKEN_BYTES: usize = 4 << 20;

/// Runs that a scan has taken to announce them, without their payloads.
#[derive(Debug, Default)]
pub struct Taken {
    /// Those that this call has changed and no other.
    pub runs: Vec<Run>,
    /// Whether there may be more.
    pub more: bool,
}

impl Ledger {
    /// Up to `most` runs of these queues whose retry is due or whose lease has ended, of a few MiB at most, claimed for
    /// this worker; and those that ended instead, to be announced. Says as well whether there may be more.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_due(
        &self,
        queues: &[Queue],
        most: usize,
    ) -> Result<(Vec<(Claimed, Claiming)>, bool), StoreError> {
        let core = &self.core;
        let queues: Vec<&str> = queues.iter().map(Queue::as_str).collect();
        let now = core.mongo.clock().now();
        // A retry that is only to be announced yet must not stand before runs that can be taken.
        let filter = doc! {
            "duty": { "$in": ["run", "announce_and_run"] },
            "due": { "$lte": now },
            "queue": { "$in": queues },
            "$or": [{ "status": Status::Running.as_str() }, { "next_at": { "$lte": now } }],
        };
        let query = Query { filter, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids, cut } = core.mongo.fitting_readable(RUNS, query).await?;
        let full = cut || ids.len() == most;
        let Runs { runs: found, unreadable } = core.find(doc! { "_id": { "$in": ids } }).await?;
        let mut claiming: HashMap<RunId, Claiming> =
            found.iter().filter_map(|run| Some((run.id, core.held.claiming(run.id)?))).collect();
        let found: Vec<Run> = found.into_iter().filter(|run| claiming.contains_key(&run.id)).collect();
        let acting = {
            let core = Arc::clone(core);
            async move {
                let _under_way = core.doubts.under_way(found.iter().map(|run| run.id).collect());
                core.act_on(found, &HashSet::new()).await
            }
        };
        let taken = core.mongo.within(DEADLINE, acting).await;
        let taken = taken.inspect_err(|_| core.doubts.raise(claiming.keys().copied()))?;
        let taken: Vec<(Claimed, Claiming)> = taken
            .into_iter()
            .filter(Claimed::is_taken)
            .filter_map(|taken| {
                let claiming = claiming.remove(&taken.run_id())?;
                Some((taken, claiming))
            })
            .collect();
        // What can not be read is passed over by the next look.
        let more = full && (!taken.is_empty() || !unreadable.is_empty());
        Ok((taken, more))
    }

    /// Up to `most` runs whose news was not announced in time, of a few MiB at most. Replicas share them: whoever moves
    /// a run's `due` forward, to `again_at`, has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_unannounced(&self, most: usize, again_at: DateTime) -> Result<Taken, StoreError> {
        let core = &self.core;
        let duty = doc! { "$in": ["announce", "announce_and_run"] };
        let due = doc! { "duty": duty, "due": { "$lte": core.mongo.clock().now() } };
        let without: &[&str] = &["payload"];
        let query = Query { filter: due.clone(), without, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids, cut } = core.mongo.fitting_readable(RUNS, query).await?;
        if ids.is_empty() {
            return Ok(Taken::default());
        }
        let more = cut || ids.len() == most;
        let sweep = bson::oid::ObjectId::new();
        let mut mine = due;
        mine.insert("_id", doc! { "$in": &ids });
        // A retry must not be put off past its time ($min passes over what is absent).
        let forward = doc! { "$set": { "due": { "$min": ["$next_at", again_at] }, "sweep": sweep } };
        let runs = core.mongo.collection::<Run>(RUNS);
        core.mongo.run(async move { runs.update_many(mine, vec![forward]).await }).await?;
        let taken = doc! { "_id": { "$in": ids }, "sweep": sweep };
        let Runs { runs, unreadable } = core.find_without_payloads(taken).await?;
        if !unreadable.is_empty() {
            // Newer replicas need not wait for them.
            let unreadable: Vec<String> = unreadable.iter().map(RunId::to_string).collect();
            let not_mine = doc! { "_id": { "$in": unreadable }, "sweep": sweep };
            let due = doc! { "$set": { "due": core.mongo.clock().now() } };
            let runs = core.mongo.collection::<Run>(RUNS);
            core.mongo.run(async move { runs.update_many(not_mine, due).await }).await?;
        }
        Ok(Taken { runs, more })
    }
}

impl Core {
    /// Runs that are not to be run or written back.
    pub(super) async fn find_without_payloads(&self, filter: Document) -> Result<Runs, StoreError> {
        let options = FindOptions::builder().projection(doc! { "payload": 0 }).build();
        Ok(Runs::of(self.mongo.read(RUNS, filter, options).await?))
    }
}
