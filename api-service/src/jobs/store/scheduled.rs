//! What is done to jobs whose time has not come: conditional writes on their documents, which nobody else knows of.

use bson::{DateTime, RawDocumentBuf, oid::ObjectId, raw::cstr, rawdoc};
use mongodb::options::FindOptions;
use service_kit::{
    StoreError,
    mongo::{self, DEADLINE, Durability, Statement, raw},
};
use shared_events::{CancelReason, Position, Status};

use super::{
    super::{
        Job,
        model::{Cancel, LARGE, position},
    },
    JOBS, Jobs,
};

/// A filter of the job as long as its time has not come: whoever promotes it changes its position.
fn still_scheduled(job: &Job) -> RawDocumentBuf {
    rawdoc! {
        "_id": bson::Binary::from(job.id),
        "run": i64::from(job.run),
        "status": Status::Scheduled.as_str(),
        "position": position(Position::scheduled(job.run)),
    }
}

impl Jobs {
    /// Ends those of these jobs that are still scheduled as cancelled; answers with them.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn cancel_scheduled(&self, jobs: &[Job], reason: Option<&str>) -> Result<Vec<Job>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (now, sweep) = (self.mongo.clock().now(), ObjectId::new());
        let cancel = raw(&Cancel { requested_at: now, reason: reason.map(str::to_owned) })?;
        let statement =
            |job: &Job| Statement::one(still_scheduled(job), cancelled(job.run, now, &cancel, sweep));
        let statements: Vec<Statement> = jobs.iter().map(statement).collect();
        let (mongo, all) = (self.mongo.clone(), jobs.len() as u64);
        let update = async move { mongo.update(JOBS, statements, Durability::Journaled).await };
        let ended = self.mongo.within(DEADLINE, update).await?;
        if ended == 0 {
            return Ok(Vec::new());
        }
        if ended == all {
            return Ok(jobs.iter().map(|job| Job { status: Status::Cancelled, ..job.clone() }).collect());
        }
        let ids: Vec<bson::Uuid> = jobs.iter().map(|job| job.id).collect();
        let left_out: bson::Document = LARGE.iter().map(|field| ((*field).to_owned(), 0.into())).collect();
        let options = FindOptions::builder().projection(left_out).build();
        let these = bson::doc! { "_id": { "$in": ids }, "sweep": sweep };
        Ok(self.mongo.read(JOBS, these, options).await?.documents)
    }
}

impl Jobs {
    /// Makes of the job what `next` is, if it is still scheduled and nobody has changed it since it was read. Fields that
    /// this version does not know stay as they are.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn change_scheduled(&self, read: &Job, next: &Job) -> Result<bool, StoreError> {
        let mut as_read = still_scheduled(read);
        match read.revision {
            0 => as_read.append(cstr!("revision"), rawdoc! { "$exists": false }),
            revision => as_read.append(cstr!("revision"), revision),
        }
        let update = raw(&mongo::diff(&document(read)?, &document(next)?))?;
        let statements = vec![Statement::one(as_read, update)];
        let mongo = self.mongo.clone();
        let update = async move { mongo.update(JOBS, statements, Durability::Journaled).await };
        Ok(self.mongo.within(DEADLINE, update).await? == 1)
    }
}

fn document(job: &Job) -> Result<bson::Document, StoreError> {
    bson::serialize_to_document(job).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn cancelled(run: u32, now: DateTime, cancel: &RawDocumentBuf, sweep: ObjectId) -> RawDocumentBuf {
    let end = Position { run, attempt: 0, status: Status::Cancelled };
    let set = rawdoc! {
        "status": end.status.as_str(),
        "position": position(end),
        "ended_at": now,
        "reason": CancelReason::Requested.as_str(),
        "cancel": cancel.clone(),
        "sweep": sweep,
    };
    let mut unset = RawDocumentBuf::new();
    for field in [cstr!("next_action"), cstr!("next_action_at"), cstr!("expire_at")] {
        unset.append(field, "");
    }
    rawdoc! { "$set": set, "$unset": unset }
}
