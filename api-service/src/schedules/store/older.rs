//! Schedules of the older scheduler's clients.

use bson::{DateTime, doc};
use mongodb::{
    IndexModel,
    options::{FindOptions, IndexOptions},
};
use service_kit::StoreError;

use super::{
    super::{Schedule, ScheduleId, Stored},
    SCHEDULES, ScheduleStore, Written, all_readable, as_read, readable,
};

/// Their index, in which no other has an entry.
pub(super) fn of_older() -> IndexModel {
    let there = doc! { "older": { "$exists": true } };
    let options = IndexOptions::builder().partial_filter_expression(there).build();
    IndexModel::builder().keys(doc! { "id": -1 }).options(options).build()
}

impl ScheduleStore {
    /// The one with this id, deleted or not.
    pub(in super::super) async fn older(&self, id: &ScheduleId) -> Result<Option<Schedule>, StoreError> {
        let filter = doc! { "id": id.as_str(), "older": { "$exists": true } };
        self.mongo.read_one::<Stored>(SCHEDULES, filter).await?.map(readable).transpose()
    }

    /// The newest ones, without their templates.
    pub(in super::super) async fn newest_older(&self, most: i64) -> Result<Vec<Schedule>, StoreError> {
        let sort = doc! { "id": -1 };
        let options =
            FindOptions::builder().sort(sort).limit(most).projection(doc! { "template": 0 }).build();
        let read = self.mongo.read(SCHEDULES, doc! { "older": { "$exists": true } }, options).await?;
        Ok(all_readable(read).0)
    }

    /// Deletes one, whose document stays.
    pub(in super::super) async fn delete_and_keep(&self, schedule: &Schedule) -> Result<Written, StoreError> {
        let now: DateTime = self.now();
        let unset = doc! { "live_id": "", "next_fire_at": "" };
        let set = doc! { "deleted_at": now, "updated_at": now };
        self.update(as_read(schedule), doc! { "$set": set, "$unset": unset }).await
    }
}
