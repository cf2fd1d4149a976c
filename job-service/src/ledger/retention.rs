//! Records of runs, and messages that could not be read, go when they were kept for long enough.
//!
//! A run of which the ledger has no record is claimed and run, so a record has to outlast every announcement of its run
//! ([`shared_events::streams::ledger_retention`]).

use std::time::Duration;

use bson::{Bson, DateTime, Document, doc};
use service_kit::{
    StoreError,
    retention::{self, DeadLetters, Rule, before},
};
use shared_events::streams;
use tokio_util::sync::CancellationToken;

use super::{Ledger, RUNS};

/// Removes what is over. See [`service_kit::retention`].
#[derive(Clone)]
pub struct Retention {
    /// What it is removed from.
    pub ledger: Ledger,
    /// How long jobs are kept after their end, and messages that could not be read; records of runs stay longer.
    pub kept: Duration,
}

impl Retention {
    /// Removes what is over, again and again, until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        retention::run(self.kept, stop, || self.pass(stop)).await;
    }

    async fn pass(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mongo = self.ledger.mongo();
        let records = Records { ledger: &self.ledger, kept: streams::ledger_retention(self.kept) };
        retention::pass(mongo, &records, stop).await?;
        retention::pass(mongo, &DeadLetters { mongo: mongo.clone(), kept: self.kept }, stop).await
    }
}

struct Records<'a> {
    ledger: &'a Ledger,
    kept: Duration,
}

impl Rule for Records<'_> {
    const COLLECTION: &'static str = RUNS;

    /// A run's id starts with its job's, and that with the time of its creation.
    fn below(&self, now: DateTime) -> Bson {
        let millis = u64::try_from(before(now, self.kept).timestamp_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().to_string().into()
    }

    /// What has ended and still has to be announced stays.
    async fn remove(&self, batch: Vec<Document>, now: DateTime) -> Result<u64, StoreError> {
        let over = doc! {
            "_id": retention::ids(&batch),
            "ended_at": { "$lte": before(now, self.kept) },
            "next_action": { "$exists": false },
        };
        self.ledger.mongo().delete_many(RUNS, over).await
    }
}
