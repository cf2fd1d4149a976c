//! Jobs of schedules: their index, what is under an id that was chosen before, and giving such an id up.

use bson::{Document, Uuid, doc};
use mongodb::{
    IndexModel,
    options::{Hint, IndexOptions},
};
use service_kit::{StoreError, mongo::is_duplicate_key};
use shared_events::Status;

use super::{
    super::{model::created_at, of_schedule::FiringJob, remains::Life},
    JOBS, Jobs,
};

/// Where a job's document has the id of its schedule.
pub(in super::super) const SCHEDULE_FIELD: &str = "schedule.id";

/// Of a stub: there never was a job under its id, and never will be.
const GIVEN_UP: &str = "given_up";

/// The index of schedules' jobs.
pub(in super::super) fn by_schedule() -> IndexModel {
    let options = IndexOptions::builder()
        .partial_filter_expression(doc! { SCHEDULE_FIELD: { "$exists": true } })
        .build();
    IndexModel::builder().keys(schedule_keys()).options(options).build()
}

fn schedule_keys() -> Document {
    doc! { SCHEDULE_FIELD: 1, "_id": -1 }
}

/// By that index.
pub(super) fn schedule_hint() -> Hint {
    Hint::Keys(schedule_keys())
}

impl Jobs {
    /// What is under this id, which a firing has chosen; none where nothing is.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(in super::super) async fn under_id_of_firing(
        &self,
        id: Uuid,
    ) -> Result<Option<FiringJob>, StoreError> {
        let jobs = self.mongo.collection::<Document>(JOBS);
        let find = async move { jobs.find_one(doc! { "_id": id }).projection(doc! { GIVEN_UP: 1 }).await };
        let found = self.mongo.run(find).await?;
        Ok(found.map(
            |found| {
                if found.contains_key(GIVEN_UP) { FiringJob::GivenUp } else { FiringJob::Before }
            },
        ))
    }

    /// Gives up an id that a firing has chosen: whoever is about to create a job under it can not any more. Says what is
    /// under it then.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn give_up(&self, id: Uuid) -> Result<FiringJob, StoreError> {
        let now = self.mongo.clock().now();
        let created_at = super::super::model::date(created_at(id));
        let until = Life { created_at: created_at.max(now), ended_at: None }.promised_until(now);
        let stub =
            doc! { "_id": id, GIVEN_UP: true, "created_at": created_at, "gone_at": now, "until": until };
        let jobs = self.mongo.collection::<Document>(JOBS);
        match self.mongo.run(async move { jobs.insert_one(stub).await }).await {
            Ok(_) => Ok(FiringJob::GivenUp),
            Err(error) if is_duplicate_key(&error) => {
                Ok(self.under_id_of_firing(id).await?.unwrap_or(FiringJob::Before))
            }
            Err(error) => Err(error),
        }
    }

    /// Those of these jobs that have not ended.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn not_ended(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ended = [Status::Finished, Status::Failed, Status::Cancelled].map(Status::as_str);
        let open = doc! { "_id": { "$in": ids }, "status": { "$exists": true, "$nin": ended.to_vec() } };
        let jobs = self.mongo.collection::<Document>(JOBS);
        let found = self.mongo.run(async move { jobs.distinct("_id", open).await }).await?;
        Ok(found.into_iter().filter_map(|id| bson::deserialize_from_bson(id).ok()).collect())
    }
}
