//! Every database call about schedules. Here: their documents.
//!
//! Writes are in the journal of a majority when they are answered, and what decides something is read from the primary, as
//! far as a majority has it.

mod export;
mod firings;
mod indexes;
mod older;

pub use firings::FIRINGS;

use std::{sync::Arc, time::Duration};

use bson::{Bson, DateTime, Document, RawDocumentBuf, Uuid, doc, rawdoc};
use mongodb::{
    error::{ErrorKind, WriteFailure},
    options::FindOptions,
};
use service_kit::{
    Mongo, StoreError,
    mongo::{Durability, Query, Read, Statement},
};
use tokio::sync::OnceCell;
use tracing::warn;

use super::{
    ScheduleId,
    filter::Filter,
    model::{Schedule, Stored},
};

/// Schedules, and for a while those that are deleted.
pub const SCHEDULES: &str = "schedules";

/// For how long a schedule that is deleted stays, for the firings that are not at their end.
const DELETED_KEPT: Duration = Duration::from_secs(86_400);

/// The server's code for a unique index that refuses a write.
const DUPLICATE_KEY: i32 = 11_000;

/// What large schedules are read at once, in bytes.
const TEMPLATE_BYTES: usize = 4 << 20;

/// The schedules that this service knows, and their firings.
#[derive(Debug, Clone)]
pub struct ScheduleStore {
    mongo: Mongo,
    indexes: Arc<OnceCell<()>>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is done, journaled by a majority.
    Done,
    /// Another schedule has the id.
    Taken,
    /// The document is not as it was read.
    Stale,
}

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// The schedules, by descending id.
    pub(super) schedules: Vec<Schedule>,
    /// How many more there are on this page that this version can not read.
    pub(super) unreadable: usize,
    /// The page goes on after this id; none at the end.
    pub(super) next: Option<ScheduleId>,
}

/// Up to where a schedule is decided now, and when there is something to decide again.
#[derive(Debug)]
pub(super) struct Advance<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) cursor: DateTime,
    pub(super) next_fire_at: Option<DateTime>,
}

impl ScheduleStore {
    /// Prepares the store.
    #[must_use]
    pub fn new(mongo: Mongo) -> Self {
        Self { mongo, indexes: Arc::default() }
    }

    /// The database.
    #[must_use]
    pub const fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// The database's time.
    pub(super) fn now(&self) -> DateTime {
        self.mongo.clock().now()
    }

    /// The schedule with this id.
    pub(super) async fn get(&self, id: &ScheduleId) -> Result<Option<Schedule>, StoreError> {
        let stored = self.mongo.read_one::<Stored>(SCHEDULES, doc! { "live_id": id.as_str() }).await?;
        stored.map(readable).transpose()
    }

    /// Whether there is a schedule of this own id, deleted or not.
    pub(super) async fn is_known(&self, uid: Uuid) -> Result<bool, StoreError> {
        let schedules = self.mongo.collection::<Document>(SCHEDULES);
        let find = async move { schedules.find_one(doc! { "_id": uid }).projection(doc! { "_id": 1 }).await };
        Ok(self.mongo.run(find).await?.is_some())
    }

    /// A page of at most `size` schedules that pass the filter.
    pub(super) async fn page(
        &self,
        filter: &Filter,
        after: Option<&ScheduleId>,
        size: usize,
    ) -> Result<Page, StoreError> {
        let query = Query {
            filter: filter.conditions(after),
            sort: Some(doc! { "live_id": -1 }),
            most: size,
            max_bytes: TEMPLATE_BYTES,
            ..Query::default()
        };
        let fitting = self.mongo.fitting(SCHEDULES, query).await?;
        let goes_on = fitting.cut || fitting.ids.len() == size;
        let options = FindOptions::builder().sort(doc! { "live_id": -1 }).build();
        let ids = doc! { "_id": { "$in": fitting.ids }, "live_id": { "$exists": true } };
        let read = self.mongo.read::<Stored>(SCHEDULES, ids, options).await?;
        let next = read.documents.last().map(|last| last.id.clone()).filter(|_| goes_on);
        let (schedules, unreadable) = all_readable(read);
        Ok(Page { schedules, unreadable, next })
    }

    /// Stores a new schedule.
    pub(super) async fn insert(&self, schedule: &Schedule) -> Result<Written, StoreError> {
        // Without the unique index no id would refuse anybody.
        self.prepare().await?;
        let (schedules, stored) = (self.mongo.collection::<Stored>(SCHEDULES), schedule.stored.clone());
        self.write(async move { schedules.insert_one(stored).await.map(|_| 1) }).await
    }

    /// Puts the schedule's next state in the place of this one. Where its times go on, nothing that was decided meanwhile is
    /// touched.
    pub(super) async fn replace(&self, before: &Schedule, next: &Schedule) -> Result<Written, StoreError> {
        let Stored { rule, template, kind, queue, paused, updated_at, version, .. } = &next.stored;
        let mut set = doc! {
            "rule": rule,
            "template": template,
            "kind": kind.as_str(),
            "queue": queue.as_str(),
            "paused": paused,
            "updated_at": updated_at,
            "version": version,
        };
        if let Some(older) = &next.stored.older {
            set.insert("older", bson::serialize_to_bson(older).unwrap_or_default());
        }
        if next.stored.cursor != before.stored.cursor {
            set.insert("since", next.stored.since);
            set.insert("cursor", next.stored.cursor);
        }
        let mut update = doc! {};
        match next.stored.next_fire_at {
            Some(at) => drop(set.insert("next_fire_at", at)),
            None => drop(update.insert("$unset", doc! { "next_fire_at": "" })),
        }
        update.insert("$set", set);
        self.update(as_read(before), update).await
    }

    /// Deletes the schedule: its id is free, and it decides nothing any more. Its document stays for a while.
    pub(super) async fn delete(&self, schedule: &Schedule) -> Result<Written, StoreError> {
        let set = doc! { "deleted_at": self.now(), "until": self.mongo.clock().after(DELETED_KEPT) };
        let unset = doc! { "live_id": "", "next_fire_at": "" };
        self.update(as_read(schedule), doc! { "$set": set, "$unset": unset }).await
    }

    /// The first schedules that have something to decide at `now`, after so many others, without their templates.
    pub(super) async fn due(&self, now: DateTime, most: i64, but: u64) -> Result<Vec<Schedule>, StoreError> {
        let due = doc! { "next_fire_at": { "$lte": now } };
        let due = self.mongo.passing_over_unreadable(SCHEDULES, due);
        let options = FindOptions::builder()
            .sort(doc! { "next_fire_at": 1 })
            .skip(but)
            .limit(most)
            .projection(doc! { "template": 0 })
            .build();
        Ok(all_readable(self.mongo.read(SCHEDULES, due, options).await?).0)
    }

    /// When the next schedule has something to decide.
    pub(super) async fn next_fire_at(&self) -> Result<Option<DateTime>, StoreError> {
        let schedules = self.mongo.collection::<Document>(SCHEDULES);
        let first = self
            .mongo
            .run(async move {
                let first = schedules.find_one(doc! { "next_fire_at": { "$exists": true } });
                first.sort(doc! { "next_fire_at": 1 }).projection(doc! { "_id": 0, "next_fire_at": 1 }).await
            })
            .await?;
        Ok(first.and_then(|first| first.get_datetime("next_fire_at").ok().copied()))
    }

    /// Notes up to where schedules are decided, where nobody else has, and no client has changed them.
    pub(super) async fn advance(&self, advances: Vec<Advance<'_>>) -> Result<u64, StoreError> {
        let statement = |Advance { schedule, cursor, next_fire_at }: Advance<'_>| {
            let as_read = rawdoc! {
                "_id": bson::Binary::from(schedule.stored.uid),
                "version": schedule.stored.version,
                "cursor": schedule.stored.cursor,
                "next_fire_at": { "$exists": true },
            };
            let update: RawDocumentBuf = match next_fire_at {
                Some(at) => rawdoc! { "$set": { "cursor": cursor, "next_fire_at": at } },
                None => rawdoc! { "$set": { "cursor": cursor }, "$unset": { "next_fire_at": "" } },
            };
            Statement::one(as_read, update)
        };
        let statements: Vec<Statement> = advances.into_iter().map(statement).collect();
        if statements.is_empty() {
            return Ok(0);
        }
        self.mongo.update(SCHEDULES, statements, Durability::Journaled).await
    }

    /// Those of these schedules that are there, deleted ones too, with their templates, as far as a few MiB go: ask again
    /// for the rest.
    pub(super) async fn some_by_uid(&self, uids: &[Uuid]) -> Result<Vec<Schedule>, StoreError> {
        let filter = doc! { "_id": { "$in": uids } };
        let query = Query { filter, most: uids.len().max(1), max_bytes: TEMPLATE_BYTES, ..Query::default() };
        let ids: Vec<Bson> = self.mongo.fitting(SCHEDULES, query).await?.ids;
        let read = self.mongo.read(SCHEDULES, doc! { "_id": { "$in": ids } }, FindOptions::default()).await?;
        Ok(all_readable(read).0)
    }

    async fn update(&self, filter: Document, update: Document) -> Result<Written, StoreError> {
        let schedules = self.mongo.collection::<Stored>(SCHEDULES);
        self.write(async move { schedules.update_one(filter, update).await.map(|done| done.matched_count) })
            .await
    }

    /// A unique index that refuses a write is no failure of the database.
    async fn write(
        &self,
        write: impl Future<Output = Result<u64, mongodb::error::Error>> + Send + 'static,
    ) -> Result<Written, StoreError> {
        let write = async move {
            match write.await {
                Ok(0) => Ok(Written::Stale),
                Ok(_) => Ok(Written::Done),
                Err(error) if is_duplicate(&error) => Ok(Written::Taken),
                Err(error) => Err(error),
            }
        };
        self.mongo.run(write).await
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}

/// The schedule as its client left it when it was read.
fn as_read(schedule: &Schedule) -> Document {
    doc! { "_id": schedule.stored.uid, "version": schedule.stored.version, "live_id": { "$exists": true } }
}

fn readable(stored: Stored) -> Result<Schedule, StoreError> {
    Schedule::try_from(stored).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// Those that this version can read, and how many it can not.
fn all_readable(read: Read<Stored>) -> (Vec<Schedule>, usize) {
    let mut unreadable = read.unreadable.len();
    let mut schedules = Vec::with_capacity(read.documents.len());
    for stored in read.documents {
        match Schedule::try_from(stored) {
            Ok(schedule) => schedules.push(schedule),
            Err(error) => {
                warn!(%error, "passed over");
                unreadable += 1;
            }
        }
    }
    (schedules, unreadable)
}
