//! The outbox marks, and what is known of the broker's store.

use std::time::Duration;

use bson::{DateTime, Document, Uuid, doc, oid::ObjectId, rawdoc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use service_kit::{
    Mongo, StoreError, Weigh,
    mongo::{Durability, Fitting, Query, Statement},
};
use shared_events::JobId;

use super::{
    super::{
        Announcement, Duty, Job,
        document::{LARGE, stored_id},
    },
    JOBS, Jobs, STATE,
};

/// The most bytes of the jobs that are taken to be announced at a time.
const TAKEN_BYTES: usize = 4 << 20;

/// Jobs that one sweep has taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Those that this call has changed and no other.
    pub jobs: Vec<Job>,
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
    pub announcement: Announcement,
    /// When to look at the job, should it stay silent.
    pub check_at: DateTime,
}

impl Weigh for Note {
    fn weight(&self) -> usize {
        250
    }
}

/// What is known of a stream; kept so that a store that was lost or set back is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreState {
    /// The stream.
    #[serde(rename = "_id")]
    pub stream: String,
    /// When the stream was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Grows whenever the store was lost or set back.
    pub store: i64,
    /// The highest sequence seen; of `JOB_EVENTS`, up to which all are applied.
    pub sequence: i64,
}

impl Jobs {
    /// Takes the outbox mark off and notes where the broker has stored what it asked for.
    ///
    /// # Errors
    /// Where the database did not do it; a scan will announce again.
    pub async fn note(&self, note: Note) -> Result<(), StoreError> {
        self.notes.submit(note).await
    }

    /// How many outbox marks there are, counted up to `most`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn count_unannounced(&self, most: u64) -> Result<u64, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        let marked = doc! { "duty": { "$in": ["announce", "cancel"] }, "due": { "$gte": DateTime::MIN } };
        self.mongo.run(async move { jobs.count_documents(marked).limit(most).await }).await
    }

    /// Up to `most` jobs that were not announced in time, of a few MiB at most. Replicas share them: whoever moves a
    /// job's `due` forward, to `again_at`, has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_unannounced(&self, most: usize, again_at: DateTime) -> Result<Taken, StoreError> {
        let marked = doc! { "duty": { "$in": ["announce", "cancel"] } };
        // Neither announcement needs the result of an earlier end.
        let without: &[&str] = &["result", "attempts"];
        self.take(marked, most, without, doc! { "$set": { "due": again_at } }).await
    }

    /// Up to `most` announced jobs that have been silent for long, without their large fields. The next look at each
    /// is after `silent_after`, or as late again as the job is old.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_silent(&self, most: usize, silent_after: Duration) -> Result<Taken, StoreError> {
        let now = self.mongo.clock().now();
        let age = doc! { "$subtract": [now, "$created_at"] };
        let pause = doc! { "$max": [age, service_kit::clock::millis(silent_after)] };
        let later = doc! { "$set": { "due": { "$add": [now, pause] } } };
        self.take(doc! { "duty": "check" }, most, LARGE, later).await
    }

    /// Marks jobs to be announced again, under the next epoch; those that have ended since are left.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn mark_again(&self, jobs: &[Job]) -> Result<u64, StoreError> {
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
        let collection = self.mongo.collection::<Job>(JOBS);
        let announced = doc! { "_id": { "$in": ids }, "duty": "check" };
        let mark =
            doc! { "$set": { "duty": "announce", "due": self.mongo.clock().now() }, "$inc": { "epoch": 1 } };
        self.mongo
            .run(async move { collection.update_many(announced, mark).await })
            .await
            .map(|done| done.modified_count)
    }

    /// Up to `most` jobs whose latest announcement went to another store of the broker, without their large fields.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn announced_elsewhere(&self, store: i64, most: usize) -> Result<Vec<Job>, StoreError> {
        let due = doc! { "$gte": DateTime::MIN };
        let elsewhere = doc! { "duty": "check", "due": due, "announced.store": { "$ne": store } };
        self.find(elsewhere, LARGE, most).await
    }

    /// Whether a job waits whose announcement this store of the broker has stored above `last`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn is_announced_above(&self, store: i64, last: i64) -> Result<bool, StoreError> {
        let above = doc! { "duty": "check", "due": { "$gte": DateTime::MIN }, "announced.store": store, "announced.sequence": { "$gt": last } };
        Ok(!self.find(above, LARGE, 1).await?.is_empty())
    }

    /// What is known of a stream.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn store_state(&self, stream: &str) -> Result<Option<StoreState>, StoreError> {
        let states = self.mongo.collection::<StoreState>(STATE);
        let filter = doc! { "_id": stream };
        self.mongo.run(async move { states.find_one(filter).await }).await
    }

    /// Puts `next` in the place of `known`; false where another replica was faster.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn set_store_state(
        &self,
        known: Option<&StoreState>,
        next: StoreState,
    ) -> Result<bool, StoreError> {
        let states = self.mongo.collection::<StoreState>(STATE);
        let Some(known) = known else {
            let inserted = self.mongo.run(async move { states.insert_one(next).await }).await;
            return match inserted {
                Ok(_) => Ok(true),
                Err(error) if service_kit::mongo::is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let as_known = doc! { "_id": &known.stream, "store": known.store, "created_ms": known.created_ms };
        let set = doc! { "created_ms": next.created_ms, "store": next.store, "sequence": next.sequence };
        // Within one store the sequence only grows, whoever writes first.
        let update = if next.store == known.store {
            doc! { "$max": { "sequence": next.sequence } }
        } else {
            doc! { "$set": set }
        };
        self.mongo
            .run(async move { states.update_one(as_known, update).await })
            .await
            .map(|done| done.matched_count == 1)
    }

    /// Changes up to `most` jobs that are due as `update` says, and answers with those that this call has changed and no
    /// other, without the fields that nobody needs.
    async fn take(
        &self,
        of: Document,
        most: usize,
        without: &'static [&'static str],
        mut update: Document,
    ) -> Result<Taken, StoreError> {
        let mut due = of;
        due.insert("due", doc! { "$lte": self.mongo.clock().now() });
        let query = Query { filter: due.clone(), without, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids, cut } = self.mongo.fitting(JOBS, query).await?;
        if ids.is_empty() {
            return Ok(Taken::default());
        }
        let more = cut || ids.len() == most;
        let sweep = ObjectId::new();
        if let Ok(set) = update.get_document_mut("$set") {
            set.insert("sweep", sweep);
        }
        due.insert("_id", doc! { "$in": &ids });
        let jobs = self.mongo.collection::<Job>(JOBS);
        self.mongo.run(async move { jobs.update_many(due, vec![update]).await }).await?;
        let jobs = self.find(doc! { "_id": { "$in": ids }, "sweep": sweep }, without, 0).await?;
        Ok(Taken { jobs, more })
    }

    /// At most `most` jobs, without these fields; 0 stands for all.
    async fn find(&self, filter: Document, without: &[&str], most: usize) -> Result<Vec<Job>, StoreError> {
        let jobs = self.mongo.collection::<Job>(JOBS);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let left_out: Document = without.iter().map(|field| ((*field).to_owned(), 0.into())).collect();
        self.mongo
            .run(async move { jobs.find(filter).projection(left_out).limit(most).await?.try_collect().await })
            .await
    }
}

pub(super) async fn commit_notes(mongo: Mongo, notes: Vec<Note>) -> Vec<Result<(), StoreError>> {
    let statement = |note: &Note| {
        let mark = if note.mark == Duty::Cancel { "cancel" } else { "announce" };
        let marked = rawdoc! {
            "_id": bson::Binary::from(stored_id(note.job)),
            "run": i64::from(note.run),
            "epoch": i64::from(note.epoch),
            "duty": mark,
        };
        let Announcement { store, sequence, at } = note.announcement;
        let announced = rawdoc! { "store": store, "sequence": sequence, "at": at };
        let noted = rawdoc! { "duty": "check", "due": note.check_at, "announced": announced };
        Statement::one(marked, rawdoc! { "$set": noted })
    };
    let done =
        mongo.update(JOBS, notes.iter().map(statement).collect(), Durability::InMemory).await.map(drop);
    notes.iter().map(|_| done.clone()).collect()
}
