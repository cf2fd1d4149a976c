//! Jobs whose time has come: those that are to be announced now, and those that were to start by now.

use bson::{DateTime, doc, rawdoc};
use mongodb::options::FindOptions;
use serde::Deserialize;
use service_kit::{
    StoreError,
    mongo::{DEADLINE, Durability, Statement},
};
use shared_events::{Position, Status};

use super::store::{Due, OutboxStore, Taken};
use crate::jobs::{JOBS, Job, NextAction, position};

/// A job that was to start by now, as far as that is decided here.
#[derive(Debug, Deserialize)]
struct Late {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    run: u32,
    attempt: u32,
    status: String,
    #[serde(default)]
    cancel: Option<bson::Document>,
}

impl Late {
    /// Whether the ledger has to be asked to end it: no attempt is known to have begun, and nobody asked before.
    fn is_to_end(&self) -> bool {
        self.status == Status::Queued.as_str() && self.attempt == 0 && self.cancel.is_none()
    }

    fn statement(&self, now: DateTime, announce_by: DateTime) -> Statement {
        let mut as_read = rawdoc! {
            "_id": bson::Binary::from(self.id),
            "run": i64::from(self.run),
            "status": &*self.status,
            "expire_at": { "$lte": now },
        };
        let seen = rawdoc! { "expire_at": "" };
        if !self.is_to_end() {
            return Statement::one(as_read, rawdoc! { "$unset": seen });
        }
        as_read.append(bson::raw::cstr!("attempt"), 0_i64);
        as_read.append(bson::raw::cstr!("cancel"), rawdoc! { "$exists": false });
        let mark = rawdoc! {
            "expiry_asked_at": now,
            "next_action": NextAction::Cancel.as_str(),
            "next_action_at": announce_by,
        };
        Statement::one(as_read, rawdoc! { "$set": mark, "$unset": seen })
    }
}

impl OutboxStore {
    /// Up to `most` scheduled jobs whose time has come, the first ones first, of a few MiB at most.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn find_scheduled(&self, most: usize) -> Result<Due, StoreError> {
        let scheduled = doc! {
            "next_action": NextAction::Promote.as_str(),
            "status": Status::Scheduled.as_str(),
            "position": position(Position::scheduled(1)),
        };
        self.find_due(scheduled, most).await
    }

    /// Puts those of them into the queue that are still scheduled, each with its outbox mark. Replicas share them: whoever
    /// changes a job's position announces it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn promote(&self, due: Due, announce_by: DateTime) -> Result<Taken<Job>, StoreError> {
        let queued = Position::fresh(1);
        let set = doc! {
            "status": queued.status.as_str(),
            "position": position(queued),
            "epoch": 1_i64,
            "next_action": NextAction::Announce.as_str(),
            "next_action_at": announce_by,
        };
        self.take_due(due, set).await
    }

    /// When the next scheduled job is due.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn next_scheduled_at(&self) -> Result<Option<DateTime>, StoreError> {
        let jobs = self.mongo.collection::<bson::Document>(JOBS);
        let scheduled =
            doc! { "next_action": NextAction::Promote.as_str(), "next_action_at": { "$gte": DateTime::MIN } };
        let scheduled = self.mongo.passing_over_unreadable(JOBS, scheduled);
        let next = async move {
            let first = jobs.find_one(scheduled).sort(doc! { "next_action": 1, "next_action_at": 1 });
            first.projection(doc! { "_id": 0, "next_action_at": 1 }).await
        };
        Ok(self.mongo.run(next).await?.and_then(|job| job.get_datetime("next_action_at").ok().copied()))
    }

    /// Marks up to `most` of the jobs that were to start by now, and of which no attempt is known to have begun, so that
    /// the ledger is asked to end them; the others need not be looked at again. Says whether there may be more.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn ask_to_expire(
        &self,
        most: usize,
        announce_by: DateTime,
    ) -> Result<Expired, StoreError> {
        let now = self.mongo.clock().now();
        // One that is still scheduled is to be promoted first.
        let late = doc! { "expire_at": { "$lte": now }, "status": { "$ne": Status::Scheduled.as_str() } };
        let fields = doc! { "run": 1, "attempt": 1, "status": 1, "cancel": 1 };
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let options = FindOptions::builder().projection(fields).limit(limit).build();
        let late = self.mongo.passing_over_unreadable(JOBS, late);
        let found: Vec<Late> = self.mongo.read(JOBS, late, options).await?.documents;
        if found.is_empty() {
            return Ok(Expired::default());
        }
        let statements = found.iter().map(|job| job.statement(now, announce_by)).collect();
        let mongo = self.mongo.clone();
        let update = async move { mongo.update(JOBS, statements, Durability::Journaled).await };
        self.mongo.within(DEADLINE, update).await?;
        let asked = found.iter().filter(|job| job.is_to_end()).count();
        Ok(Expired { asked, more: found.len() == most })
    }
}

/// What became of jobs that were to start by now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expired {
    /// How many the ledger is asked to end.
    pub(super) asked: usize,
    /// Whether there may be more.
    pub(super) more: bool,
}
