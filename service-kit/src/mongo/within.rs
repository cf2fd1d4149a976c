//! Which documents of a query fit into so many bytes, learnt before any of them is loaded.

use bson::{Bson, Document, doc};
use futures::TryStreamExt;
use mongodb::options::Hint;
use serde::Deserialize;

use super::Mongo;
use crate::StoreError;

/// A query of which only so much is to be loaded at once.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Which documents.
    pub filter: Document,
    /// In which order.
    pub sort: Option<Document>,
    /// By which index, where that is not for the server to choose.
    pub hint: Option<Hint>,
    /// Which fields are not going to be loaded, and so do not count.
    pub without: &'static [&'static str],
    /// The most documents; at least one.
    pub most: usize,
    /// The most bytes of all of them together, as BSON.
    pub max_bytes: usize,
}

/// The first documents of a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fitting {
    /// Their ids, in the query's order. The first is among them, however large it is.
    pub ids: Vec<Bson>,
    /// Whether others were left out for the bytes' sake.
    pub cut: bool,
}

#[derive(Debug, Deserialize)]
struct Measured {
    #[serde(rename = "_id")]
    id: Bson,
    #[serde(rename = "bytes")]
    size: i64,
}

impl Mongo {
    /// Measures the first documents of a query, without loading them.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn fitting(&self, collection: &str, query: Query) -> Result<Fitting, StoreError> {
        let Query { filter, sort, hint, without, most, max_bytes } = query;
        let documents = self.collection::<Measured>(collection);
        let most = i64::try_from(most).unwrap_or(i64::MAX).max(1);
        let measured: Vec<Measured> = self
            .run(async move {
                let mut found = documents.find(filter).projection(projection(without)).limit(most);
                found = found.batch_size(u32::try_from(most).unwrap_or(u32::MAX));
                if let Some(sort) = sort {
                    found = found.sort(sort);
                }
                if let Some(hint) = hint {
                    found = found.hint(hint);
                }
                found.await?.try_collect().await
            })
            .await?;
        Ok(fit(measured, max_bytes))
    }
}

/// The document's size without the fields that are not loaded.
fn projection(without: &[&str]) -> Document {
    let loaded = without.iter().fold(Bson::from("$$ROOT"), |loaded, field| {
        doc! { "$unsetField": { "field": *field, "input": loaded } }.into()
    });
    doc! { "bytes": { "$toLong": { "$bsonSize": loaded } } }
}

fn fit(measured: Vec<Measured>, max_bytes: usize) -> Fitting {
    let (mut fitting, mut used) = (Fitting::default(), 0);
    for Measured { id, size } in measured {
        used += usize::try_from(size).unwrap_or(0);
        if used > max_bytes && !fitting.ids.is_empty() {
            fitting.cut = true;
            break;
        }
        fitting.ids.push(id);
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(sizes: &[i64], max_bytes: usize) -> (usize, bool) {
        let measured = sizes.iter().map(|size| Measured { id: Bson::Null, size: *size }).collect();
        let fitting = fit(measured, max_bytes);
        (fitting.ids.len(), fitting.cut)
    }

    #[test]
    fn as_many_as_fit_and_at_least_one() {
        for (sizes, max_bytes, expected) in [
            (&[][..], 10, (0, false)),
            (&[4, 4], 10, (2, false)),
            (&[4, 6], 10, (2, false)),
            (&[4, 7], 10, (1, true)),
            (&[11], 10, (1, false)),
            (&[11, 1], 10, (1, true)),
            (&[4, 7, 1], 10, (1, true)),
        ] {
            assert_eq!(fits(sizes, max_bytes), expected, "{sizes:?}");
        }
    }
}
