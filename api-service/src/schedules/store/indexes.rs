//! The indexes of schedules and firings.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{IndexModel, options::IndexOptions};
use service_kit::{StoreError, failpoints::Safeguard, mongo::IndexesOf, telemetry::chain};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{FIRINGS, SCHEDULES, ScheduleStore, older::of_older};

/// How soon the indexes are tried again to be made.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

impl ScheduleStore {
    /// Makes the indexes as soon as the database is there, unless told to stop.
    pub(in super::super) async fn prepare_soon(&self, stop: &CancellationToken) {
        while let Err(error) = self.prepare().await {
            warn!(error = chain(&error), "waiting for MongoDB to make the schedules' indexes");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
        }
    }

    /// Makes sure, once, that the indexes are there.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.indexes.get_or_try_init(|| self.mongo.create_indexes(Self::indexes())).await.copied()
    }

    /// What they are.
    #[must_use]
    pub fn indexes() -> Vec<IndexesOf> {
        let there = |field: &str| doc! { field: { "$exists": true } };
        let partial = |keys: Document, field: &str| {
            let options = IndexOptions::builder().partial_filter_expression(there(field)).build();
            IndexModel::builder().keys(keys).options(options).build()
        };
        let plain = |keys: Document| IndexModel::builder().keys(keys).build();
        let expiring = || {
            let options = IndexOptions::builder()
                .partial_filter_expression(there("until"))
                .expire_after(Duration::ZERO)
                .build();
            IndexModel::builder().keys(doc! { "until": 1 }).options(options).build()
        };
        let live = IndexOptions::builder()
            .unique(!Safeguard::UniqueIndexes.is_off())
            .partial_filter_expression(there("live_id"))
            .build();
        let of_schedules = vec![
            IndexModel::builder().keys(doc! { "live_id": 1 }).options(live).build(),
            partial(doc! { "next_fire_at": 1 }, "next_fire_at"),
            plain(doc! { "kind": 1, "live_id": 1 }),
            plain(doc! { "queue": 1, "live_id": 1 }),
            of_older(),
            expiring(),
        ];
        let of_firings = vec![
            plain(doc! { "uid": 1, "due_at": -1, "_id": -1 }),
            // Has an entry for what is not at its end, and for no other.
            partial(doc! { "look_at": 1 }, "look_at"),
            expiring(),
        ];
        vec![
            IndexesOf { collection: SCHEDULES, indexes: of_schedules },
            IndexesOf { collection: FIRINGS, indexes: of_firings },
        ]
    }
}
