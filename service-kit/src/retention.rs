//! Retention: what is over goes, in small batches that disturb nobody.
//!
//! Ids of jobs and runs grow with time, so a walk along a collection's primary index finds what is old, and no write pays
//! for an index of its age. Each pass starts at the lowest id. Replicas need not agree who does it: what one has removed,
//! another does not find.

use std::time::{Duration, Instant};

use bson::{Bson, DateTime, Document, doc};
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Mongo, StoreError, clock::millis, dead_letters::DEAD_LETTERS, retry::jittered, telemetry::chain,
};

/// How many documents are looked at with one command, and removed with the next.
const BATCH: usize = 200;

/// The pause between two passes is never longer, nor shorter.
const BETWEEN_PASSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3600));

/// The pause after a pass that the database did not let end.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What goes of one collection, and when.
pub trait Rule: Send + Sync {
    /// The collection.
    const COLLECTION: &'static str;

    /// The lowest id that is too young to be looked at.
    fn below(&self, now: DateTime) -> Bson;

    /// Which fields [`Self::remove`] is to be given besides `_id`.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Removes those of the batch that are over, each only if it still is at that moment; says how many.
    fn remove(
        &self,
        batch: Vec<Document>,
        now: DateTime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A place in a collection's primary index.
#[derive(Debug, Clone, PartialEq)]
struct Walk {
    after: Option<Bson>,
    below: Bson,
}

impl Walk {
    const fn to(below: Bson) -> Self {
        Self { after: None, below }
    }

    /// The ids that are still to be looked at.
    fn ahead(&self) -> Document {
        let mut ids = doc! { "$lt": self.below.clone() };
        if let Some(after) = &self.after {
            ids.insert("$gt", after.clone());
        }
        doc! { "_id": ids }
    }

    /// Goes on behind this batch, whatever becomes of it; false where it was the last one.
    fn step(&mut self, batch: &[Document]) -> bool {
        let last = batch.last().and_then(|document| document.get("_id"));
        self.after = last.cloned().or(self.after.take());
        batch.len() >= BATCH
    }
}

/// One pass over a collection: removes what is over by `rule`. After each batch it rests for as long as that took.
///
/// # Errors
/// Where the database does not answer: the next pass does the rest.
pub async fn pass<R: Rule>(mongo: &Mongo, rule: &R, stop: &CancellationToken) -> Result<(), StoreError> {
    // This machine's own clock may be wrong by years, and what is removed does not come back.
    mongo.learn_clock().await?;
    let now = mongo.clock().now();
    let mut walk = Walk::to(rule.below(now));
    let (mut removed, started) = (0, Instant::now());
    let mut more = true;
    while more && !stop.is_cancelled() {
        let began = Instant::now();
        let batch = read(mongo, R::COLLECTION, walk.ahead(), rule.fields()).await?;
        more = walk.step(&batch);
        if !batch.is_empty() {
            removed += rule.remove(batch, now).await?;
        }
        if more {
            tokio::time::sleep(began.elapsed()).await;
        }
    }
    if removed > 0 {
        let elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
        info!(collection = R::COLLECTION, removed, elapsed_ms, "removed what was kept for long enough");
    }
    Ok(())
}

async fn read(
    mongo: &Mongo,
    collection: &str,
    ahead: Document,
    fields: &'static [&'static str],
) -> Result<Vec<Document>, StoreError> {
    let mut projection = doc! { "_id": 1 };
    projection.extend(fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))));
    let documents = mongo.collection::<Document>(collection);
    mongo
        .run(async move {
            let found = documents.find(ahead).sort(doc! { "_id": 1 }).hint(by_id()).limit(BATCH as i64);
            found.projection(projection).await?.try_collect().await
        })
        .await
}

fn by_id() -> mongodb::options::Hint {
    mongodb::options::Hint::Keys(doc! { "_id": 1 })
}

/// Makes pass after pass, the first at once, until told to stop. They are an hour apart, and less where little time is kept.
pub async fn run<F: Future<Output = Result<(), StoreError>>>(
    kept: Duration,
    stop: &CancellationToken,
    pass: impl Fn() -> F,
) {
    loop {
        // What a pass has begun goes on to its end without anybody who waits.
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = pass() => done,
        };
        let pause = match done {
            Ok(()) => between_passes(kept),
            Err(error) => {
                warn!(error = chain(&error), "could not remove all that is over; trying again");
                between_passes(kept).min(AFTER_FAILURE)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered(pause)) => {}
        }
    }
}

fn between_passes(kept: Duration) -> Duration {
    let (shortest, longest) = BETWEEN_PASSES;
    (kept / 30).clamp(shortest, longest)
}

/// The moment `kept` before `now`.
#[must_use]
pub fn before(now: DateTime, kept: Duration) -> DateTime {
    DateTime::from_millis(now.timestamp_millis().saturating_sub(millis(kept)))
}

/// The ids of a batch, for a filter.
#[must_use]
pub fn ids(batch: &[Document]) -> Document {
    let ids: Vec<Bson> = batch.iter().filter_map(|document| document.get("_id").cloned()).collect();
    doc! { "$in": ids }
}

/// Dead letters go so long after they were kept.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// Where they are.
    pub mongo: Mongo,
    /// How long they stay.
    pub kept: Duration,
}

impl Rule for DeadLetters {
    const COLLECTION: &'static str = DEAD_LETTERS;

    /// Their ids tell of their streams and not of time, so all are looked at: they are few.
    fn below(&self, _: DateTime) -> Bson {
        Bson::MaxKey
    }

    async fn remove(&self, batch: Vec<Document>, now: DateTime) -> Result<u64, StoreError> {
        let over = doc! { "_id": ids(&batch), "at": { "$lt": before(now, self.kept) } };
        self.mongo.delete_many(Self::COLLECTION, over).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ids: std::ops::Range<i64>) -> Vec<Document> {
        ids.map(|id| doc! { "_id": id }).collect()
    }

    #[test]
    fn a_walk_looks_at_nothing_twice_whatever_is_removed() {
        let size = BATCH as i64;
        let mut walk = Walk::to(Bson::Int64(10_000));
        assert_eq!(walk.ahead(), doc! { "_id": { "$lt": 10_000_i64 } });
        assert!(walk.step(&batch(0..size)));
        assert_eq!(walk.ahead(), doc! { "_id": { "$lt": 10_000_i64, "$gt": size - 1 } });
        assert!(walk.step(&batch(size..2 * size)));
        assert_eq!(walk.ahead(), doc! { "_id": { "$lt": 10_000_i64, "$gt": 2 * size - 1 } });
    }

    #[test]
    fn a_walk_ends_with_a_batch_that_is_not_full() {
        let mut walk = Walk::to(Bson::Int64(10_000));
        assert!(!walk.step(&batch(0..3)));
        let before = walk.clone();
        assert!(!walk.step(&[]));
        assert_eq!(walk, before);
    }

    #[test]
    fn passes_are_an_hour_apart_and_less_where_little_is_kept() {
        let of = |seconds| between_passes(Duration::from_secs(seconds)).as_millis();
        assert_eq!([of(1), of(600), of(30 * 86_400)], [500, 20_000, 3_600_000]);
    }
}
