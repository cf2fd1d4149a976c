//! The outbox marks in the jobs' documents, and when to look at announced jobs that stay silent.

use std::{collections::HashMap, time::Duration};

use bson::{Bson, DateTime, Document, Uuid, doc, oid::ObjectId, rawdoc};
use futures::TryStreamExt;
use mongodb::options::FindOptions;
use serde::Deserialize;
use service_kit::{
    GroupCommit, GroupLimits, Mongo, StoreError, Weigh,
    mongo::{Durability, Fitting, Query, Statement, raw},
};
use shared_events::{JobId, Queue};

use crate::jobs::{Announced, JOBS, Job, NextAction, stored_id};

/// The most bytes of the jobs that are taken to be announced at a time.
const TAKEN_BYTES: usize = 4 << 20;

/// What neither announcement needs: the result of an earlier end.
const NOT_ANNOUNCED: &[&str] = &["result", "output", "attempts"];

/// The documents of jobs, as far as their outbox marks and announcements are concerned. Copies share them.
#[derive(Clone)]
pub struct OutboxStore {
    pub(super) mongo: Mongo,
    receipts: GroupCommit<PublishReceipt, ()>,
}

/// What one sweep has taken.
#[derive(Debug, Default)]
pub struct Taken<T> {
    /// Those that this call has changed and no other.
    pub jobs: Vec<T>,
    /// Whether there may be more.
    pub more: bool,
}

/// Documents whose time has come, as they were found; somebody else may take them first.
#[derive(Debug)]
pub(super) struct Due {
    filter: Document,
    /// Which they are.
    pub(super) ids: Vec<Bson>,
    /// Whether there may be more.
    more: bool,
}

/// The broker has stored what this mark asked for.
#[derive(Debug, Clone)]
pub struct PublishReceipt {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// Which announcement of the run.
    pub epoch: u32,
    /// The mark: [`NextAction::Announce`] or [`NextAction::Cancel`].
    pub mark: NextAction,
    /// Where it is stored.
    pub announced: Announced,
    /// When to look at the job, should it stay silent.
    pub check_at: DateTime,
}

impl Weigh for PublishReceipt {
    fn weight(&self) -> usize {
        300
    }
}

impl OutboxStore {
    /// The jobs in this database.
    #[must_use]
    pub fn new(mongo: Mongo) -> Self {
        let receipts = {
            let mongo = mongo.clone();
            let limits = GroupLimits { name: "receipts", ..GroupLimits::default() };
            GroupCommit::start(limits, move |receipts| unmark(mongo.clone(), receipts))
        };
        Self { mongo, receipts }
    }

    /// The database.
    #[must_use]
    pub const fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// Takes the outbox mark off and writes down where the broker has stored what it asked for.
    ///
    /// # Errors
    /// Where the database did not do it; a scan will announce again.
    pub async fn unmark(&self, receipt: PublishReceipt) -> Result<(), StoreError> {
        self.receipts.submit(receipt).await
    }

    /// How many outbox marks there are besides those that wait for room, counted up to `most`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn count_unannounced(&self, most: u64) -> Result<u64, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        let marked = doc! { "next_action": { "$in": ["announce", "cancel"] }, "next_action_at": { "$gte": DateTime::MIN } };
        self.mongo.run(async move { jobs.count_documents(marked).limit(most).await }).await
    }

    /// For how long the first announcement has been due that was not made in time; zero where there is none.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn overdue(&self) -> Result<Duration, StoreError> {
        let now = self.mongo.clock().now();
        let due =
            doc! { "next_action": { "$in": ["announce", "cancel"] }, "next_action_at": { "$lte": now } };
        self.mongo.overdue(JOBS, due, now).await
    }

    /// How many jobs of each queue wait for room in the broker.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn count_without_room(&self) -> Result<HashMap<Queue, u64>, StoreError> {
        #[derive(Deserialize)]
        struct OfQueue {
            #[serde(rename = "_id")]
            queue: Queue,
            count: i64,
        }
        let jobs = self.mongo.collection::<Job>(JOBS);
        let by_queue = [
            doc! { "$match": { "next_action": "await_room" } },
            doc! { "$group": { "_id": "$queue", "count": { "$sum": 1_i64 } } },
        ];
        let groups = async move {
            jobs.aggregate(by_queue).with_type::<OfQueue>().await?.try_collect::<Vec<_>>().await
        };
        let count = |group: OfQueue| (group.queue, u64::try_from(group.count).unwrap_or(0));
        Ok(self.mongo.run(groups).await?.into_iter().map(count).collect())
    }

    /// Up to `most` jobs that were not announced in time, of a few MiB at most. Replicas share them: whoever moves a
    /// job's `due` forward, to `again_at`, has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_unannounced(&self, most: usize, again_at: DateTime) -> Result<Taken<Job>, StoreError> {
        let marked = doc! { "next_action": { "$in": ["announce", "cancel"] } };
        self.take_to_announce(marked, most, doc! { "next_action_at": again_at }).await
    }

    /// Up to `most` jobs of a queue that waited for room, the oldest first, of a few MiB at most: they are to be
    /// announced now.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_without_room(
        &self,
        queue: &Queue,
        most: usize,
        again_at: DateTime,
    ) -> Result<Taken<Job>, StoreError> {
        let waiting = doc! { "next_action": "await_room", "queue": queue.as_str() };
        self.take_to_announce(waiting, most, doc! { "next_action": "announce", "next_action_at": again_at })
            .await
    }

    /// Has these jobs wait for room: their queue has used up its share of the stream.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn await_room(&self, jobs: &[Uuid]) -> Result<(), StoreError> {
        let marked = doc! { "_id": { "$in": jobs }, "next_action": "announce" };
        self.update_many(marked, doc! { "$set": { "next_action": "await_room" } }).await.map(drop)
    }

    pub(super) async fn update_many(&self, filter: Document, update: Document) -> Result<u64, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        let update = async move { jobs.update_many(filter, update).await };
        self.mongo.run(update).await.map(|done| done.modified_count)
    }

    async fn take_to_announce(
        &self,
        of: Document,
        most: usize,
        set: Document,
    ) -> Result<Taken<Job>, StoreError> {
        let due = self.find_due(of, most).await?;
        self.take_due(due, set).await
    }

    /// Up to `most` of them whose time has come, of a few MiB at most.
    pub(super) async fn find_due(&self, of: Document, most: usize) -> Result<Due, StoreError> {
        let filter = self.due(of);
        let (without, max_bytes) = (NOT_ANNOUNCED, TAKEN_BYTES);
        let query = Query { filter: filter.clone(), without, most, max_bytes, ..Query::default() };
        let Fitting { ids, cut } = self.mongo.fitting_readable(JOBS, query).await?;
        let more = cut || ids.len() == most;
        Ok(Due { filter, ids, more })
    }

    /// Sets these fields of those that are still due, and reads what this call has changed and no other.
    pub(super) async fn take_due(&self, due: Due, set: Document) -> Result<Taken<Job>, StoreError> {
        let Due { filter, ids, more } = due;
        let taken = self.take(filter, &ids, set).await?;
        let left_out: Document = NOT_ANNOUNCED.iter().map(|field| ((*field).to_owned(), 0.into())).collect();
        let options = FindOptions::builder().projection(left_out).build();
        let read = self.mongo.read(JOBS, taken.clone(), options).await?;
        if !read.unreadable.is_empty() {
            // Newer replicas need not wait for them.
            let mut not_mine = taken;
            not_mine.insert("_id", doc! { "$in": read.unreadable });
            self.update_many(not_mine, doc! { "$set": { "next_action_at": self.mongo.clock().now() } })
                .await?;
        }
        Ok(Taken { jobs: read.documents, more })
    }

    /// Those of them whose time has come.
    pub(super) fn due(&self, mut of: Document) -> Document {
        of.insert("next_action_at", doc! { "$lte": self.mongo.clock().now() });
        of
    }

    /// Sets these fields, which may be expressions, of those of the jobs that are still `due`; the filter of those that
    /// this call has changed and no other.
    pub(super) async fn take(
        &self,
        mut due: Document,
        ids: &[Bson],
        mut set: Document,
    ) -> Result<Document, StoreError> {
        let sweep = ObjectId::new();
        set.insert("sweep", sweep);
        due.insert("_id", doc! { "$in": ids });
        if !ids.is_empty() {
            let jobs = self.mongo.collection::<Job>(JOBS);
            self.mongo.run(async move { jobs.update_many(due, vec![doc! { "$set": set }]).await }).await?;
        }
        Ok(doc! { "_id": { "$in": ids }, "sweep": sweep })
    }
}

async fn unmark(mongo: Mongo, receipts: Vec<PublishReceipt>) -> Vec<Result<(), StoreError>> {
    let done = async {
        let statements = receipts.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        mongo.update(JOBS, statements, Durability::InMemory).await.map(drop)
    };
    let done = done.await;
    receipts.iter().map(|_| done.clone()).collect()
}

fn statement(receipt: &PublishReceipt) -> Result<Statement, StoreError> {
    let marked = rawdoc! {
        "_id": bson::Binary::from(stored_id(receipt.job)),
        "run": i64::from(receipt.run),
        "epoch": i64::from(receipt.epoch),
        "next_action": receipt.mark.as_str(),
    };
    let announced = rawdoc! {
        "next_action": NextAction::Check.as_str(),
        "next_action_at": receipt.check_at,
        "announced": raw(&receipt.announced)?,
    };
    Ok(Statement::one(marked, rawdoc! { "$set": announced }))
}
