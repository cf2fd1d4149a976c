//! Reading all jobs from the oldest on, a few MiB at a time.

use bson::{Uuid, doc};
use mongodb::options::{FindOptions, Hint};
use service_kit::{
    StoreError,
    mongo::{Fitting, Query},
};
use shared_events::Timestamp;

use super::{
    super::{Job, filter::first_id},
    JOBS, Jobs,
};

/// The most jobs that are read at a time, and the most bytes, unless a single one has more.
const MOST: usize = 1000;
const MAX_BYTES: usize = 1 << 20;

/// Some jobs, in the order of their ids.
#[derive(Debug)]
pub struct ExportPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// How many more there are among them that this version can not read.
    pub unreadable: usize,
    /// The last id that was looked at; none where there was none.
    pub last: Option<Uuid>,
}

impl Jobs {
    /// The jobs above `after`, as many as fit, that were created before `until`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn export_page(&self, after: Option<Uuid>, until: Timestamp) -> Result<ExportPage, StoreError> {
        let mut ids = doc! { "$lt": first_id(until) };
        if let Some(after) = after {
            ids.insert("$gt", after);
        }
        // A stub of a job that is gone has no status.
        let filter = doc! { "_id": ids, "status": { "$exists": true } };
        let by_id = Hint::Keys(doc! { "_id": 1 });
        let (sort, hint) = (Some(doc! { "_id": 1 }), Some(by_id.clone()));
        let query = Query { filter, sort, hint, without: &[], most: MOST, max_bytes: MAX_BYTES };
        let Fitting { ids, .. } = self.mongo.fitting(JOBS, query).await?;
        let last = match ids.last() {
            Some(bson::Bson::Binary(id)) => id.to_uuid().ok(),
            _ => None,
        };
        let options = FindOptions::builder().sort(doc! { "_id": 1 }).hint(by_id).build();
        let these = doc! { "_id": { "$in": ids }, "status": { "$exists": true } };
        let read = self.mongo.read(JOBS, these, options).await?;
        Ok(ExportPage { jobs: read.documents, unreadable: read.unreadable.len(), last })
    }
}
