//! Reading documents, some of which a newer version may have written.
//!
//! Each document is decoded by itself. One that this version can not read is left out, told once in the log and
//! counted, and is no failure of the database. Whoever takes the first documents that are due passes over those for a
//! while, so that many of them can not stand before what can be done.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt;
use mongodb::options::FindOptions;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use super::{Fitting, Mongo, Query};
use crate::StoreError;

/// How long a document that could not be read is passed over by scans.
const PASSED_OVER: Duration = Duration::from_secs(60);

/// The most documents that are remembered as unreadable.
const REMEMBERED: usize = 10_000;

/// What could be read of some documents, in the order in which they came.
#[derive(Debug)]
pub struct Read<T> {
    /// Those that this version can read.
    pub documents: Vec<T>,
    /// The ids of those that it can not.
    pub unreadable: Vec<Bson>,
    /// The id of the last document, whichever it is.
    pub last: Option<Bson>,
}

impl<T> Read<T> {
    /// How many documents there were.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.documents.len() + self.unreadable.len()
    }
}

/// The documents that this process could not read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    seen: Mutex<HashMap<Key, Seen>>,
    count: AtomicU64,
}

/// A collection, and an id in it as something that can be compared.
type Key = (String, Vec<u8>);

#[derive(Debug)]
struct Seen {
    id: Bson,
    at: Instant,
}

impl Unreadable {
    /// Remembers one, as long as there is room; whether it was not known before.
    fn remember(&self, collection: &str, id: &Bson) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key =
            (collection.to_owned(), bson::serialize_to_vec(&doc! { "": id.clone() }).unwrap_or_default());
        let is_new = !seen.contains_key(&key);
        if is_new && seen.len() >= REMEMBERED {
            seen.retain(|_, seen| seen.at.elapsed() < PASSED_OVER);
            if seen.len() >= REMEMBERED {
                // So many have been told of already.
                return false;
            }
        }
        seen.insert(key, Seen { id: id.clone(), at: Instant::now() });
        if is_new {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Those of a collection that were seen a short while ago.
    fn recent(&self, collection: &str) -> Vec<Bson> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            seen.iter().filter(|((of, _), seen)| of == collection && seen.at.elapsed() < PASSED_OVER);
        recent.map(|(_, seen)| seen.id.clone()).collect()
    }
}

impl Mongo {
    /// Reads documents.
    ///
    /// # Errors
    /// Where the database does not answer; not where a document is not readable.
    pub async fn read<T: DeserializeOwned>(
        &self,
        collection: &str,
        filter: Document,
        options: FindOptions,
    ) -> Result<Read<T>, StoreError> {
        let documents = self.collection::<RawDocumentBuf>(collection);
        let found: Vec<RawDocumentBuf> = self
            .run(async move { documents.find(filter).with_options(options).await?.try_collect().await })
            .await?;
        let mut read =
            Read { documents: Vec::with_capacity(found.len()), unreadable: Vec::new(), last: None };
        for (place, document) in found.iter().enumerate() {
            let is_last = place + 1 == found.len();
            match bson::deserialize_from_slice(document.as_bytes()) {
                Ok(readable) => read.documents.push(readable),
                Err(error) => {
                    let id = id(document);
                    self.note_unreadable(collection, &id, &error);
                    read.unreadable.push(id);
                }
            }
            if is_last {
                read.last = Some(id(document));
            }
        }
        Ok(read)
    }

    /// Reads one document, where there is one.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where this version can not read it; where the database does not answer.
    pub async fn read_one<T: DeserializeOwned>(
        &self,
        collection: &str,
        filter: Document,
    ) -> Result<Option<T>, StoreError> {
        self.read_one_without(collection, filter, &[]).await
    }

    /// The same, without these fields.
    ///
    /// # Errors
    /// Those of [`Mongo::read_one`].
    pub async fn read_one_without<T: DeserializeOwned>(
        &self,
        collection: &str,
        filter: Document,
        without: &[&str],
    ) -> Result<Option<T>, StoreError> {
        let documents = self.collection::<RawDocumentBuf>(collection);
        let left_out: Document = without.iter().map(|field| ((*field).to_owned(), 0.into())).collect();
        let found = self.run(async move { documents.find_one(filter).projection(left_out).await }).await?;
        let Some(document) = found else { return Ok(None) };
        bson::deserialize_from_slice(document.as_bytes()).map(Some).map_err(|error| {
            self.note_unreadable(collection, &id(&document), &error);
            StoreError::Unreadable(error.to_string())
        })
    }

    /// [`Mongo::fitting`], but for the documents that this process could not read a short while ago.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn fitting_readable(&self, collection: &str, mut query: Query) -> Result<Fitting, StoreError> {
        query.filter = self.passing_over_unreadable(collection, query.filter);
        self.fitting(collection, query).await
    }

    /// A filter that passes over the documents that this process could not read a short while ago.
    #[must_use]
    pub fn passing_over_unreadable(&self, collection: &str, filter: Document) -> Document {
        let unreadable = self.unreadable.recent(collection);
        if unreadable.is_empty() {
            return filter;
        }
        doc! { "$and": [filter, { "_id": { "$nin": unreadable } }] }
    }

    /// How many documents this process could not read so far.
    #[must_use]
    pub fn unreadable_documents(&self) -> u64 {
        self.unreadable.count.load(Ordering::Relaxed)
    }

    fn note_unreadable(&self, collection: &str, id: &Bson, error: &bson::error::Error) {
        if self.unreadable.remember(collection, id) {
            let so_far = self.unreadable_documents();
            warn!(collection, %id, %error, so_far, "document of another version is not readable here; passed over");
        }
    }
}

fn id(document: &RawDocumentBuf) -> Bson {
    document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok()).unwrap_or(Bson::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_read_is_told_once_and_passed_over_for_a_while() {
        let unreadable = Unreadable::default();
        assert!(unreadable.remember("runs", &"a".into()));
        assert!(!unreadable.remember("runs", &"a".into()));
        assert!(unreadable.remember("jobs", &"a".into()));
        assert_eq!(unreadable.recent("runs"), [Bson::from("a")]);
        tokio::time::advance(PASSED_OVER).await;
        assert!(unreadable.recent("runs").is_empty());
        assert!(!unreadable.remember("runs", &"a".into()));
        assert_eq!(unreadable.recent("runs"), [Bson::from("a")]);
        assert_eq!(unreadable.count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_remembered() {
        let unreadable = Unreadable::default();
        let all = i64::try_from(REMEMBERED).unwrap();
        assert!((0..all).all(|id| unreadable.remember("runs", &id.into())));
        assert!(!unreadable.remember("runs", &all.into()));
        assert_eq!(unreadable.recent("runs").len(), REMEMBERED);
        tokio::time::advance(PASSED_OVER).await;
        unreadable.remember("runs", &all.into());
        assert_eq!(unreadable.recent("runs"), [Bson::from(all)]);
    }
}
