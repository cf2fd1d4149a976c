//! The outbox marks, and when to look at announced jobs that stay silent.

use std::{collections::HashMap, time::Duration};

use bson::{Bson, DateTime, Document, Uuid, doc, oid::ObjectId, rawdoc};
use futures::TryStreamExt;
use mongodb::options::FindOptions;
use serde::Deserialize;
use service_kit::{
    Mongo, StoreError, Weigh,
    clock::millis,
    mongo::{Durability, Fitting, Query, Statement, raw},
};
use shared_events::{JobId, Queue, RunId};

use super::{
    super::{Announced, Duty, Generations, Job, document::stored_id},
    JOBS, Jobs,
};

/// The longest pause between two looks at a job that waits: well below the time that a stream keeps a message, so that
/// one that has expired is missed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// The most bytes of the jobs that are taken to be announced at a time.
const TAKEN_BYTES: usize = 4 << 20;

/// What one sweep has taken.
#[derive(Debug, Default)]
pub struct Taken<T> {
    /// Those that this call has changed and no other.
    pub jobs: Vec<T>,
    /// Whether there may be more.
    pub more: bool,
}

/// The broker has stored what this mark asked for.
#[derive(Debug, Clone)]
pub struct Note {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// Which announcement of the run.
    pub epoch: u32,
    /// The mark: [`Duty::Announce`] or [`Duty::Cancel`].
    pub mark: Duty,
    /// Where it is stored.
    pub announced: Announced,
    /// When to look at the job, should it stay silent.
    pub check_at: DateTime,
}

impl Weigh for Note {
    fn weight(&self) -> usize {
        300
    }
}

/// An announced job that has not ended, as far as the reconciler looks at it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OpenJob {
    /// The job.
    #[serde(rename = "_id")]
    pub id: Uuid,
    /// Which of its runs is the latest.
    pub run: u32,
    /// Where the latest announcement is.
    pub announced: Option<Announced>,
    /// Whether a cancel was asked for.
    #[serde(default)]
    cancel: Option<Document>,
}

impl OpenJob {
    /// Its latest run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        JobId::from(uuid::Uuid::from_bytes(self.id.bytes())).run(self.run)
    }

    /// Whether a cancel was asked for.
    #[must_use]
    pub const fn is_cancel_requested(&self) -> bool {
        self.cancel.is_some()
    }
}

impl Jobs {
    /// Takes the outbox mark off and notes where the broker has stored what it asked for.
    ///
    /// # Errors
    /// Where the database did not do it; a scan will announce again.
    pub async fn note(&self, note: Note) -> Result<(), StoreError> {
        self.notes.submit(note).await
    }

    /// How many outbox marks there are besides those that wait for room, counted up to `most`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn count_unannounced(&self, most: u64) -> Result<u64, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        let marked = doc! { "duty": { "$in": ["announce", "cancel"] }, "due": { "$gte": DateTime::MIN } };
        self.mongo.run(async move { jobs.count_documents(marked).limit(most).await }).await
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
            doc! { "$match": { "duty": "await_room" } },
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
        let marked = doc! { "duty": { "$in": ["announce", "cancel"] } };
        self.take_to_announce(marked, most, doc! { "due": again_at }).await
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
        let waiting = doc! { "duty": "await_room", "queue": queue.as_str() };
        self.take_to_announce(waiting, most, doc! { "duty": "announce", "due": again_at }).await
    }

    /// Has these jobs wait for room: their queue has used up its share of the stream.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn await_room(&self, jobs: &[Uuid]) -> Result<(), StoreError> {
        let marked = doc! { "_id": { "$in": jobs }, "duty": "announce" };
        self.update_many(marked, doc! { "$set": { "duty": "await_room" } }).await.map(drop)
    }

    /// Up to `most` announced jobs that have been silent for long. The next look at each is after `silent_after`, or
    /// as late again as its latest announcement is old, a day at most.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_silent(
        &self,
        most: usize,
        silent_after: Duration,
    ) -> Result<Taken<OpenJob>, StoreError> {
        let now = self.mongo.clock().now();
        let silent_ms = doc! { "$subtract": [now, { "$ifNull": ["$announced.at", "$created_at"] }] };
        let longest_ms = millis(LONGEST_PAUSE.max(silent_after));
        let pause_ms = doc! { "$max": [{ "$min": [silent_ms, longest_ms] }, millis(silent_after)] };
        let due = self.due(doc! { "duty": "check" });
        let found = self.find_open(due.clone(), most).await?;
        let ids: Vec<Bson> = found.iter().map(|job| job.id.into()).collect();
        let taken = self.take(due, &ids, doc! { "due": { "$add": [now, pause_ms] } }).await?;
        Ok(Taken { jobs: self.find_open(taken, most).await?, more: ids.len() == most })
    }

    /// Marks jobs to be announced again, under the next epoch, to this generation of `JOBS` or a later one; those that
    /// have ended since are left.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn mark_again(&self, jobs: &[Uuid], generation: i64) -> Result<u64, StoreError> {
        let announced = doc! { "_id": { "$in": jobs }, "duty": "check" };
        let mark = doc! { "duty": "announce", "due": self.mongo.clock().now(), "for_generation": generation };
        self.update_many(announced, doc! { "$set": mark, "$inc": { "epoch": 1 } }).await
    }

    /// Marks the cancels of jobs to be passed on again.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn mark_cancels_again(&self, jobs: &[Uuid]) -> Result<u64, StoreError> {
        let told = doc! { "_id": { "$in": jobs }, "duty": "check", "cancel": { "$exists": true } };
        let mark = doc! { "duty": "cancel", "due": self.mongo.clock().now() };
        self.update_many(told, doc! { "$set": mark }).await
    }

    /// Writes down that the announcements of these jobs are still there in these generations.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn confirm_announced(&self, jobs: &[Uuid], now: Generations) -> Result<u64, StoreError> {
        let announced =
            doc! { "_id": { "$in": jobs }, "duty": "check", "announced.generations.jobs": now.jobs };
        let generations =
            bson::serialize_to_document(&now).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        self.update_many(announced, doc! { "$set": { "announced.generations": generations } }).await
    }

    /// Up to `most` announced jobs of which something went to an earlier generation of a stream: the announcement, a
    /// cancel, or possibly events.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn announced_before(&self, now: Generations, most: usize) -> Result<Vec<OpenJob>, StoreError> {
        let other =
            |stream: &str, number: i64| (format!("announced.generations.{stream}"), doc! { "$ne": number });
        let (jobs_key, jobs) = other("jobs", now.jobs);
        let (events_key, events) = other("events", now.events);
        let (control_key, control) = other("control", now.control);
        let filter = doc! {
            "duty": "check",
            "due": { "$gte": DateTime::MIN },
            "$or": [
                { jobs_key: jobs },
                { events_key: events },
                { "cancel": { "$exists": true }, control_key: control },
            ],
        };
        self.find_open(filter, most).await
    }

    /// The highest sequence of an announcement that is known to be in this generation of `JOBS` above `last`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn announced_above(&self, generation: i64, last: i64) -> Result<Option<i64>, StoreError> {
        let above = doc! {
            "duty": "check",
            "due": { "$gte": DateTime::MIN },
            "announced.generations.jobs": generation,
            "announced.sequence": { "$gt": last },
        };
        let highest = doc! { "announced.sequence": -1 };
        let options = FindOptions::builder().sort(highest).projection(open_fields()).limit(1).build();
        let found: Vec<OpenJob> = self.mongo.read(JOBS, above, options).await?.documents;
        Ok(found.first().and_then(|job| Some(job.announced?.sequence)))
    }

    async fn find_open(&self, filter: Document, most: usize) -> Result<Vec<OpenJob>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let options = FindOptions::builder().projection(open_fields()).limit(most).build();
        let filter = self.mongo.passing_over_unreadable(JOBS, filter);
        Ok(self.mongo.read(JOBS, filter, options).await?.documents)
    }

    async fn update_many(&self, filter: Document, update: Document) -> Result<u64, StoreError> {
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
        // Neither announcement needs the result of an earlier end.
        let without: &[&str] = &["result", "attempts"];
        let due = self.due(of);
        let query = Query { filter: due.clone(), without, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids, cut } = self.mongo.fitting_readable(JOBS, query).await?;
        let taken = self.take(due, &ids, set).await?;
        let left_out: Document = without.iter().map(|field| ((*field).to_owned(), 0.into())).collect();
        let options = FindOptions::builder().projection(left_out).build();
        let read = self.mongo.read(JOBS, taken.clone(), options).await?;
        if !read.unreadable.is_empty() {
            // Newer replicas need not wait for them.
            let mut not_mine = taken;
            not_mine.insert("_id", doc! { "$in": read.unreadable });
            self.update_many(not_mine, doc! { "$set": { "due": self.mongo.clock().now() } }).await?;
        }
        Ok(Taken { jobs: read.documents, more: cut || ids.len() == most })
    }

    /// Those of them that are due.
    fn due(&self, mut of: Document) -> Document {
        of.insert("due", doc! { "$lte": self.mongo.clock().now() });
        of
    }

    /// Sets these fields, which may be expressions, of those of the jobs that are still `due`; the filter of those that
    /// this call has changed and no other.
    async fn take(&self, mut due: Document, ids: &[Bson], mut set: Document) -> Result<Document, StoreError> {
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

/// What an [`OpenJob`] is read from: no payload.
fn open_fields() -> Document {
    doc! { "run": 1, "announced": 1, "cancel.requested_at": 1 }
}

pub(super) async fn commit_notes(mongo: Mongo, notes: Vec<Note>) -> Vec<Result<(), StoreError>> {
    let done = async {
        let statements = notes.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        mongo.update(JOBS, statements, Durability::InMemory).await.map(drop)
    };
    let done = done.await;
    notes.iter().map(|_| done.clone()).collect()
}

fn statement(note: &Note) -> Result<Statement, StoreError> {
    let mark = if note.mark == Duty::Cancel { "cancel" } else { "announce" };
    let marked = rawdoc! {
        "_id": bson::Binary::from(stored_id(note.job)),
        "run": i64::from(note.run),
        "epoch": i64::from(note.epoch),
        "duty": mark,
    };
    let noted = rawdoc! { "duty": "check", "due": note.check_at, "announced": raw(&note.announced)? };
    Ok(Statement::one(marked, rawdoc! { "$set": noted }))
}
