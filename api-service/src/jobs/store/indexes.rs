//! The indexes of jobs.

use std::time::Duration;

use bson::doc;
use mongodb::{IndexModel, options::IndexOptions};
use service_kit::{StoreError, failpoints::Safeguard, mongo::IndexesOf};
use tracing::info;

use super::{
    super::NextAction, DEDUP_KEY, EARLIER_RUNS, IDEMPOTENCY_KEY, JOBS, Jobs, KEPT_INDEX, OPEN_JOBS_INDEX,
    UniqueKey, by_schedule,
};

impl Jobs {
    /// Makes sure, once, that the indexes are there: two that are unique, one of all that has not ended, one for all
    /// next actions, one for what waits for room in the broker, one for what is to start by some time, one of schedules' jobs, one for what says
    /// itself how long it is kept, and one by which the database removes stubs whose time is over.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.indexes.get_or_try_init(|| self.create_indexes()).await.copied()
    }

    /// What they are.
    #[must_use]
    pub fn indexes() -> Vec<IndexesOf> {
        let there = |field: &str| doc! { field: { "$exists": true } };
        let unique = |name: &str, key: UniqueKey| {
            let options = IndexOptions::builder()
                .name(name.to_owned())
                .unique(!Safeguard::UniqueIndexes.is_off())
                .partial_filter_expression(there(key.field()))
                .build();
            IndexModel::builder().keys(doc! { key.field(): 1 }).options(options).build()
        };
        let due = IndexOptions::builder().partial_filter_expression(there("next_action_at")).build();
        let without_room = IndexOptions::builder()
            .partial_filter_expression(doc! { "next_action": NextAction::AwaitRoom.as_str() })
            .build();
        let expiring = IndexOptions::builder().partial_filter_expression(there("expire_at")).build();
        let until =
            IndexOptions::builder().partial_filter_expression(there("until")).expire_after(Duration::ZERO);
        let open = IndexOptions::builder()
            .name(OPEN_JOBS_INDEX.to_owned())
            .partial_filter_expression(doc! { "status": { "$in": ["queued", "running", "scheduled"] } });
        let kept =
            IndexOptions::builder().name(KEPT_INDEX.to_owned()).partial_filter_expression(there("keep_s"));
        let indexes = vec![
            unique(DEDUP_KEY, UniqueKey::Dedup),
            unique(IDEMPOTENCY_KEY, UniqueKey::Idempotency),
            IndexModel::builder().keys(doc! { "next_action": 1, "next_action_at": 1 }).options(due).build(),
            // Has no entry as long as every queue has room.
            IndexModel::builder()
                .keys(doc! { "next_action": 1, "queue": 1, "next_action_at": 1 })
                .options(without_room)
                .build(),
            // Has an entry for a job that is to start by some time, until it does or ends.
            IndexModel::builder().keys(doc! { "expire_at": 1 }).options(expiring).build(),
            IndexModel::builder().keys(doc! { "until": 1 }).options(until.build()).build(),
            IndexModel::builder()
                .keys(doc! { "queue": 1, "status": 1, "priority": 1, "_id": 1 })
                .options(open.build())
                .build(),
            // Has an entry for a job of a schedule, and for no other.
            by_schedule(),
            // Has an entry for a job that says itself how long it is kept, and for no other.
            IndexModel::builder().keys(doc! { "keep_s": 1, "ended_at": 1 }).options(kept.build()).build(),
        ];
        let by_job = IndexModel::builder().keys(doc! { "job": 1, "run": -1 }).build();
        vec![
            IndexesOf { collection: JOBS, indexes },
            IndexesOf { collection: EARLIER_RUNS, indexes: vec![by_job] },
        ]
    }

    async fn create_indexes(&self) -> Result<(), StoreError> {
        self.mongo.create_indexes(Self::indexes()).await?;
        info!("MongoDB is there");
        Ok(())
    }
}
