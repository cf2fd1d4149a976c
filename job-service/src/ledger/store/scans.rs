//! What the scans take: runs that are due, and runs that were not announced. Each loads a bounded number of bytes.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use service_kit::{
    StoreError,
    mongo::{Fitting, Query},
};
use shared_events::{Kind, Queue, RunId, Status};

use super::{
    super::{NextAction, Run},
    Ledger, RUNS, Runs,
};

/// The most bytes of the runs that a scan takes at a time.
pub(super) const TAKEN_BYTES: usize = 4 << 20;

/// Up to how many announcements are counted.
const MOST_COUNTED: u64 = 10_000;

/// Runs that a scan has taken to announce them, without their payloads.
#[derive(Debug, Default)]
pub struct Taken {
    /// Those that this call has changed and no other.
    pub runs: Vec<Run>,
    /// Whether there may be more.
    pub more: bool,
}

/// Runs whose retry is due or whose lease has ended.
#[derive(Debug, Default)]
pub struct DueRuns {
    /// They as they were read.
    pub runs: Vec<Run>,
    /// How many this version can not read.
    pub unreadable: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// Which kinds are looked for.
#[derive(Debug, Clone, Copy)]
pub enum DueKinds<'a> {
    /// This one.
    Only(&'a Kind),
    /// All but these.
    AllBut(&'a [Kind]),
}

impl DueKinds<'_> {
    fn add_to(self, filter: &mut Document) {
        match self {
            Self::Only(kind) => drop(filter.insert("kind", kind.as_str())),
            Self::AllBut([]) => {}
            Self::AllBut(kinds) => {
                let kinds: Vec<&str> = kinds.iter().map(Kind::as_str).collect();
                filter.insert("kind", doc! { "$nin": kinds });
            }
        }
    }
}

impl Ledger {
    /// Up to `most` runs of these queues and kinds whose retry is due or whose lease has ended, of a few MiB at most.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn due(
        &self,
        queues: &[Queue],
        kinds: DueKinds<'_>,
        most: usize,
    ) -> Result<DueRuns, StoreError> {
        let core = &self.core;
        let queues: Vec<&str> = queues.iter().map(Queue::as_str).collect();
        let now = core.mongo.clock().now();
        // A retry that is only to be announced yet must not stand before runs that can be taken.
        let mut filter = doc! {
            "next_action": { "$in": [NextAction::Run.as_str(), NextAction::AnnounceAndRun.as_str()] },
            "next_action_at": { "$lte": now },
            "queue": { "$in": queues },
            "$or": [{ "status": Status::Running.as_str() }, { "next_at": { "$lte": now } }],
        };
        kinds.add_to(&mut filter);
        let query = Query { filter, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids, cut } = core.mongo.fitting_readable(RUNS, query).await?;
        let more = cut || ids.len() == most;
        let Runs { runs, unreadable } = core.find(doc! { "_id": { "$in": ids } }).await?;
        Ok(DueRuns { runs, unreadable: unreadable.len(), more })
    }

    /// How many runs of these kinds in the queue could start now; counted up to `most`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn waiting(&self, queue: &Queue, kinds: &[Kind], most: u64) -> Result<u64, StoreError> {
        let kinds: Vec<&str> = kinds.iter().map(Kind::as_str).collect();
        let now = self.core.mongo.clock().now();
        let waiting = doc! {
            "next_action": { "$in": [NextAction::Run.as_str(), NextAction::AnnounceAndRun.as_str()] },
            "next_action_at": { "$lte": now },
            "status": Status::Queued.as_str(),
            "queue": queue.as_str(),
            "kind": { "$in": kinds },
        };
        let runs = self.core.mongo.collection::<Run>(RUNS);
        self.core.mongo.run(async move { runs.count_documents(waiting).limit(most).await }).await
    }

    /// How many announcements wait for the broker (up to 10,000), and for how long the first has been due.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn unannounced(&self) -> Result<(u64, Duration), StoreError> {
        let (mongo, now) = (&self.core.mongo, self.core.mongo.clock().now());
        let marked = |at: Document| {
            let marks = [NextAction::Announce.as_str(), NextAction::AnnounceAndRun.as_str()];
            doc! { "next_action": { "$in": marks }, "next_action_at": at }
        };
        let (runs, all) = (mongo.collection::<Document>(RUNS), marked(doc! { "$gte": DateTime::MIN }));
        let waiting = mongo.run(async move { runs.count_documents(all).limit(MOST_COUNTED).await }).await?;
        Ok((waiting, mongo.overdue(RUNS, marked(doc! { "$lte": now }), now).await?))
    }

    /// Up to `most` runs whose latest event was not announced in time, of a few MiB at most. Replicas share them: whoever moves
    /// a run's time forward, to `again_at`, has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_unannounced(&self, most: usize, again_at: DateTime) -> Result<Taken, StoreError> {
        let core = &self.core;
        let next_action =
            doc! { "$in": [NextAction::Announce.as_str(), NextAction::AnnounceAndRun.as_str()] };
        let due = doc! { "next_action": next_action, "next_action_at": { "$lte": core.mongo.clock().now() } };
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
        let forward =
            doc! { "$set": { "next_action_at": { "$min": ["$next_at", again_at] }, "sweep": sweep } };
        let runs = core.mongo.collection::<Run>(RUNS);
        core.mongo.run(async move { runs.update_many(mine, vec![forward]).await }).await?;
        let taken = doc! { "_id": { "$in": ids }, "sweep": sweep };
        let Runs { runs, unreadable } = core.find_without_payloads(taken).await?;
        if !unreadable.is_empty() {
            // Newer replicas need not wait for them.
            let unreadable: Vec<String> = unreadable.iter().map(RunId::to_string).collect();
            let not_mine = doc! { "_id": { "$in": unreadable }, "sweep": sweep };
            let due = doc! { "$set": { "next_action_at": core.mongo.clock().now() } };
            let runs = core.mongo.collection::<Run>(RUNS);
            core.mongo.run(async move { runs.update_many(not_mine, due).await }).await?;
        }
        Ok(Taken { runs, more })
    }
}
