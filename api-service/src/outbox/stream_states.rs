//! What is known of the broker's streams.

use bson::doc;
use service_kit::{Mongo, StoreError, mongo};

use super::stream_generation::StreamState;

/// What is known of the broker's streams.
pub const STATE: &str = "state";

/// The documents of what is known of the streams. Copies share them.
#[derive(Debug, Clone)]
pub struct StreamStates {
    mongo: Mongo,
}

impl StreamStates {
    /// The documents in this database.
    #[must_use]
    pub const fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }

    /// What is known of a stream.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn get(&self, stream: &str) -> Result<Option<StreamState>, StoreError> {
        let states = self.mongo.collection::<StreamState>(STATE);
        let filter = doc! { "_id": stream };
        self.mongo.run(async move { states.find_one(filter).await }).await
    }

    /// Puts `next` in the place of `known`; false where another replica was faster.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn set(&self, known: Option<&StreamState>, next: StreamState) -> Result<bool, StoreError> {
        let states = self.mongo.collection::<StreamState>(STATE);
        let Some(known) = known else {
            return match self.mongo.run(async move { states.insert_one(next).await }).await {
                Ok(_) => Ok(true),
                Err(error) if service_kit::mongo::is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let as_known = as_known(known);
        let update = mongo::diff(&document(known)?, &document(&next)?);
        if update.is_empty() {
            return Ok(true);
        }
        let change = async move { states.update_one(as_known, update).await };
        self.mongo.run(change).await.map(|done| done.matched_count == 1)
    }

    /// Writes down that a stream has grown, or that more of it is applied. Within one generation both only grow,
    /// whoever writes first.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn raise(
        &self,
        known: &StreamState,
        last: i64,
        applied: Option<i64>,
    ) -> Result<(), StoreError> {
        let states = self.mongo.collection::<StreamState>(STATE);
        let mut raised = doc! { "last": last };
        if let Some(applied) = applied {
            raised.insert("applied", applied);
        }
        let as_known = as_known(known);
        self.mongo
            .run(async move { states.update_one(as_known, doc! { "$max": raised }).await })
            .await
            .map(drop)
    }
}

fn document(state: &StreamState) -> Result<bson::Document, StoreError> {
    bson::serialize_to_document(state).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn as_known(known: &StreamState) -> bson::Document {
    doc! { "_id": &known.stream, "generation": known.generation, "created_ms": known.created_ms }
}
