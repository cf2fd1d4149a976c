//! Indexes as data: made at the start, and held against what is there.

use std::collections::BTreeMap;

use bson::{Bson, Document};
use futures::TryStreamExt;
use mongodb::IndexModel;

use super::Mongo;
use crate::StoreError;

/// The indexes that a collection is to have.
#[derive(Debug, Clone)]
pub struct IndexesOf {
    /// The collection.
    pub collection: &'static str,
    /// Its indexes, but that of its ids.
    pub indexes: Vec<IndexModel>,
}

/// An index that is not as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDifference {
    /// The collection.
    pub collection: &'static str,
    /// The index's name.
    pub index: String,
    /// What is there under its name; none where nothing is.
    pub found: Option<String>,
}

impl Mongo {
    /// Makes the indexes that are not there.
    ///
    /// # Errors
    /// Where the database does not answer, or has another one of the same name.
    pub async fn create_indexes(&self, all: Vec<IndexesOf>) -> Result<(), StoreError> {
        for IndexesOf { collection, indexes } in all {
            let there = self.collection::<Document>(collection);
            self.run(async move { there.create_indexes(indexes).await }).await?;
        }
        Ok(())
    }

    /// Which of these are missing, or different.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn index_differences(&self, all: &[IndexesOf]) -> Result<Vec<IndexDifference>, StoreError> {
        let mut differences = Vec::new();
        for IndexesOf { collection, indexes } in all {
            let found = self.indexes(collection).await?;
            let differing = indexes.iter().filter_map(|wanted| difference(collection, wanted, &found));
            differences.extend(differing);
        }
        Ok(differences)
    }

    async fn indexes(&self, collection: &str) -> Result<BTreeMap<String, IndexModel>, StoreError> {
        let there = self.collection::<Document>(collection);
        let all = self.run(async move {
            match there.list_indexes().await {
                Ok(indexes) => indexes.try_collect().await,
                // No collection has no index.
                Err(error) if is_no_namespace(&error) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        });
        Ok(all.await?.into_iter().map(|index| (name(&index), index)).collect())
    }
}

fn is_no_namespace(error: &mongodb::error::Error) -> bool {
    const NAMESPACE_NOT_FOUND: i32 = 26;
    matches!(error.kind.as_ref(), mongodb::error::ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}

fn difference(
    collection: &'static str,
    wanted: &IndexModel,
    found: &BTreeMap<String, IndexModel>,
) -> Option<IndexDifference> {
    let index = name(wanted);
    let found = found.get(&index).map(shown);
    (found.as_ref() != Some(&shown(wanted))).then_some(IndexDifference { collection, index, found })
}

/// That which the server gives it where nobody does.
fn name(index: &IndexModel) -> String {
    let given = index.options.as_ref().and_then(|options| options.name.clone());
    given.unwrap_or_else(|| {
        let parts = index.keys.iter().map(|(key, way)| format!("{key}_{}", number(way)));
        parts.collect::<Vec<_>>().join("_")
    })
}

/// What it is, whatever types of numbers the server makes of it.
fn shown(index: &IndexModel) -> String {
    let keys: Vec<String> = index.keys.iter().map(|(key, way)| format!("{key}: {}", number(way))).collect();
    let mut text = format!("{{{}}}", keys.join(", "));
    let Some(options) = &index.options else { return text };
    if options.unique == Some(true) {
        text.push_str(", unique");
    }
    if let Some(only) = &options.partial_filter_expression {
        text.push_str(&format!(", only where {only}"));
    }
    if let Some(after) = options.expire_after {
        text.push_str(&format!(", expires after {} s", after.as_secs()));
    }
    text
}

fn number(value: &Bson) -> String {
    match value {
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        Bson::Double(number) => number.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bson::doc;
    use mongodb::options::IndexOptions;

    use super::*;

    fn unique(keys: Document) -> IndexModel {
        IndexModel::builder().keys(keys).options(IndexOptions::builder().unique(true).build()).build()
    }

    fn there(indexes: &[IndexModel]) -> BTreeMap<String, IndexModel> {
        indexes.iter().map(|index| (name(index), index.clone())).collect()
    }

    #[test]
    fn the_same_index_with_other_types_of_numbers_is_no_difference() {
        let wanted = unique(doc! { "queue": 1, "_id": -1 });
        let found = there(&[unique(doc! { "queue": 1_i64, "_id": -1.0 })]);
        assert_eq!(difference("jobs", &wanted, &found), None);
    }

    #[test]
    fn a_missing_or_other_index_is_told_by_its_name() {
        let wanted = unique(doc! { "key": 1 });
        let missing = difference("jobs", &wanted, &there(&[])).unwrap();
        assert_eq!((missing.index.as_str(), missing.found), ("key_1", None));
        let plain = IndexModel::builder().keys(doc! { "key": 1 }).build();
        let other = difference("jobs", &wanted, &there(&[plain])).unwrap();
        assert_eq!(other.found.as_deref(), Some("{key: 1}"));
        let options = IndexOptions::builder()
            .partial_filter_expression(doc! { "until": { "$exists": true } })
            .expire_after(Duration::ZERO)
            .build();
        let expiring = IndexModel::builder().keys(doc! { "until": 1 }).options(options).build();
        assert!(shown(&expiring).ends_with("expires after 0 s"), "{}", shown(&expiring));
    }
}
