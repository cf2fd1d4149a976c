//! Announced jobs that have not ended: those that are silent for long, and those of which something was lost.

use std::time::Duration;

use bson::{Bson, DateTime, Document, Uuid, doc, rawdoc};
use mongodb::options::FindOptions;
use serde::Deserialize;
use service_kit::{
    StoreError,
    clock::millis,
    mongo::{DEADLINE, Durability, Statement},
};
use shared_events::{JobId, RunId};

use super::store::{OutboxStore, Taken};
use crate::jobs::{Announced, Generations, JOBS, NextAction};

/// The longest pause between two looks at a job that waits, unless `SILENT_AFTER_S` is longer: each costs a message that
/// is read from the stream. Well below the time that a stream keeps a message, so that one that has expired is missed
/// soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// An announced job that has not ended, as far as the reconciler looks at it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OpenJob {
    /// The job.
    #[serde(rename = "_id")]
    pub id: Uuid,
    /// Which of its runs is the latest.
    pub run: u32,
    /// Which announcement of it is the latest.
    pub epoch: u32,
    /// Where that is.
    pub announced: Option<Announced>,
    /// The request to cancel.
    #[serde(default)]
    cancel: Option<Document>,
    /// When the ledger was asked to end it, since it had not started in time.
    #[serde(default)]
    expiry_asked_at: Option<DateTime>,
}

impl OpenJob {
    /// Its latest run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        JobId::from(uuid::Uuid::from_bytes(self.id.bytes())).run(self.run)
    }

    /// Where its latest announcement is in this generation of `JOBS`; none where it went to another one.
    #[must_use]
    pub fn sequence_in(&self, generation: i64) -> Option<u64> {
        let announced = self.announced.filter(|announced| announced.generations.jobs == generation)?;
        // A cancel has none.
        u64::try_from(announced.sequence).ok().filter(|sequence| *sequence > 0)
    }

    /// Whether `JOB_CONTROL` was told something about it.
    #[must_use]
    pub const fn is_cancel_requested(&self) -> bool {
        self.cancel.is_some() || self.expiry_asked_at.is_some()
    }
}

impl OutboxStore {
    /// Up to `most` announced jobs that have been silent for long. The next look at each is after `silent_after`, or
    /// as late again as its latest announcement is old, an hour at most.
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
        let due = self.due(doc! { "next_action": "check" });
        let found = self.find_open(due.clone(), most).await?;
        let ids: Vec<Bson> = found.iter().map(|job| job.id.into()).collect();
        let taken = self.take(due, &ids, doc! { "next_action_at": { "$add": [now, pause_ms] } }).await?;
        Ok(Taken { jobs: self.find_open(taken, most).await?, more: ids.len() == most })
    }

    /// Marks jobs to be announced again, under the next epoch, to this generation of `JOBS` or a later one; those that
    /// have ended, or were announced again, since they were read are left.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn mark_again(&self, jobs: &[OpenJob], generation: i64) -> Result<u64, StoreError> {
        let now = self.mongo.clock().now();
        let statement = |job: &OpenJob| {
            let as_read = rawdoc! {
                "_id": bson::Binary::from(job.id),
                "run": i64::from(job.run),
                "epoch": i64::from(job.epoch),
                "next_action": NextAction::Check.as_str(),
            };
            let mark = rawdoc! {
                "next_action": NextAction::Announce.as_str(),
                "next_action_at": now,
                "for_generation": generation,
            };
            Statement::one(as_read, rawdoc! { "$set": mark, "$inc": { "epoch": 1_i64 } })
        };
        let (mongo, statements) = (self.mongo.clone(), jobs.iter().map(statement).collect());
        let update = async move { mongo.update(JOBS, statements, Durability::Journaled).await };
        self.mongo.within(DEADLINE, update).await
    }

    /// Marks the cancels of jobs to be passed on again.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn mark_cancels_again(&self, jobs: &[Uuid]) -> Result<u64, StoreError> {
        let told = doc! { "_id": { "$in": jobs }, "next_action": "check", "$or": told_to_control() };
        let mark = doc! { "next_action": "cancel", "next_action_at": self.mongo.clock().now() };
        self.update_many(told, doc! { "$set": mark }).await
    }

    /// Writes down that the announcements of these jobs are still there in these generations.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn confirm_announced(&self, jobs: &[Uuid], now: Generations) -> Result<u64, StoreError> {
        let announced =
            doc! { "_id": { "$in": jobs }, "next_action": "check", "announced.generations.jobs": now.jobs };
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
            "next_action": "check",
            "next_action_at": { "$gte": DateTime::MIN },
            "$or": [
                { jobs_key: jobs },
                { events_key: events },
                { control_key: control, "$or": told_to_control() },
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
            "next_action": "check",
            "next_action_at": { "$gte": DateTime::MIN },
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
}

/// What an [`OpenJob`] is read from: no payload.
fn open_fields() -> Document {
    doc! { "run": 1, "epoch": 1, "announced": 1, "cancel.requested_at": 1, "expiry_asked_at": 1 }
}

/// Filters of jobs about which `JOB_CONTROL` was told something.
fn told_to_control() -> [Document; 2] {
    [doc! { "cancel": { "$exists": true } }, doc! { "expiry_asked_at": { "$exists": true } }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_looked_for_only_in_the_generation_that_has_it() {
        let announced = |jobs, sequence| {
            let generations = Generations { jobs, events: 1, control: 1 };
            Some(Announced { generations, sequence, at: DateTime::from_millis(0) })
        };
        for (announced, sequence) in
            [(announced(2, 7), Some(7)), (announced(1, 7), None), (announced(2, 0), None), (None, None)]
        {
            let job =
                OpenJob { id: Uuid::new(), run: 1, epoch: 1, announced, cancel: None, expiry_asked_at: None };
            assert_eq!(job.sequence_in(2), sequence, "{job:?}");
        }
    }
}
