//! For how long something has been due that nobody has done.

use std::time::Duration;

use bson::{DateTime, Document, doc};

use super::Mongo;
use crate::StoreError;

impl Mongo {
    /// For how long the first document that matches has been due (`next_action_at`); zero where none does.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn overdue(
        &self,
        collection: &str,
        due: Document,
        now: DateTime,
    ) -> Result<Duration, StoreError> {
        let documents = self.collection::<Document>(collection);
        let by_time = doc! { "next_action_at": 1 };
        let found = self
            .run(async move { documents.find_one(due).sort(by_time.clone()).projection(by_time).await })
            .await?;
        let since = found.and_then(|first| first.get_datetime("next_action_at").ok().copied()).unwrap_or(now);
        let since_ms = now.timestamp_millis() - since.timestamp_millis();
        Ok(Duration::from_millis(u64::try_from(since_ms).unwrap_or(0)))
    }
}
