//! Reading all schedules and all firings, a few MiB at a time, each in the order of their ids.

use bson::{Bson, Document, doc};
use mongodb::options::{FindOptions, Hint};
use serde::de::DeserializeOwned;
use service_kit::{
    StoreError,
    mongo::{Fitting, Query, Read},
};

use super::{
    super::{Firing, Schedule, Stored},
    FIRINGS, SCHEDULES, ScheduleStore, all_readable,
};

/// The most documents that are read at a time, and the most bytes, unless a single one has more.
const MOST: usize = 1000;
const MAX_BYTES: usize = 1 << 20;

/// Some of all there are.
#[derive(Debug)]
pub(crate) struct ExportPage<T> {
    /// Those that this version can read.
    pub(crate) items: Vec<T>,
    /// How many more there are among them.
    pub(crate) unreadable: usize,
    /// The last id that was looked at; none where there was none.
    pub(crate) last: Option<Bson>,
}

impl ScheduleStore {
    /// The schedules above `after`, as many as fit; of those that are deleted, what older clients are still shown.
    pub(crate) async fn export_schedules(
        &self,
        after: Option<Bson>,
    ) -> Result<ExportPage<Schedule>, StoreError> {
        let shown = doc! { "$or": [{ "live_id": { "$exists": true } }, { "older": { "$exists": true } }] };
        let (read, last) = self.above::<Stored>(SCHEDULES, after, shown).await?;
        let (items, unreadable) = all_readable(read);
        Ok(ExportPage { items, unreadable, last })
    }

    /// The records of firings above `after`, as many as fit.
    pub(crate) async fn export_firings(&self, after: Option<Bson>) -> Result<ExportPage<Firing>, StoreError> {
        let (read, last) = self.above::<Firing>(FIRINGS, after, doc! {}).await?;
        Ok(ExportPage { unreadable: read.unreadable.len(), items: read.documents, last })
    }

    async fn above<T: DeserializeOwned>(
        &self,
        collection: &str,
        after: Option<Bson>,
        mut filter: Document,
    ) -> Result<(Read<T>, Option<Bson>), StoreError> {
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after });
        }
        let by_id = Hint::Keys(doc! { "_id": 1 });
        let (sort, hint) = (Some(doc! { "_id": 1 }), Some(by_id.clone()));
        let query = Query { filter, sort, hint, without: &[], most: MOST, max_bytes: MAX_BYTES };
        let Fitting { ids, .. } = self.mongo.fitting(collection, query).await?;
        let last = ids.last().cloned();
        let options = FindOptions::builder().sort(doc! { "_id": 1 }).hint(by_id).build();
        Ok((self.mongo.read(collection, doc! { "_id": { "$in": ids } }, options).await?, last))
    }
}
