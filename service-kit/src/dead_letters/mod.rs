//! Dead letters: messages that could not be read, in the collection `dead_letters` of each service's database.
//!
//! One that a newer version may have written waits there for a replica that can read it: every replica looks when it
//! starts and every so often, does with it what it would do with the message, and removes it.

mod decide;

pub use decide::{Decision, Delivery, GivenBack, MAX_WAIT};

use std::{collections::BTreeMap, time::Duration};

use bson::{Bson, DateTime, doc};
use futures::TryStreamExt;
use mongodb::{IndexModel, options::IndexOptions};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{Mongo, StoreError, mongo::IndexesOf, retry::jittered, telemetry::chain};

pub(crate) const DEAD_LETTERS: &str = "dead_letters";

/// How many are read at a time: each may be as large as a message.
const BATCH: i64 = 16;

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How far back a look goes that is not the first: replicas differ in what time it is.
const MARGIN: Duration = Duration::from_secs(300);

/// Why a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is no event of any version.
    NotAnEvent,
    /// It, or what it is about, has values that this version does not know.
    NewerVersion,
}

/// A message, or one event of a message that holds several, that could not be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Of the message in its stream, so that the same one is kept once: stream, sequence, when the stream took it,
    /// and the place among the message's events.
    #[serde(rename = "_id")]
    pub id: Bson,
    /// When it became one.
    pub at: DateTime,
    /// The stream that it was in.
    pub stream: String,
    /// Its subject.
    pub subject: String,
    /// The message's headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The event as it was sent.
    pub body: bson::Binary,
    /// Why it is one.
    pub reason: Reason,
    /// The same in words.
    pub error: String,
}

/// What became of a dead letter that was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenUp {
    /// Everything that it asked for is done.
    Done,
    /// This version can not read it, or this replica never does such things.
    Left,
    /// It can be read, but not be done now.
    NotNow,
}

/// Who can do what a dead letter asks for.
pub trait TakeUp: Send + Sync {
    /// The streams whose dead letters these are.
    const STREAMS: &'static [&'static str];

    /// Does what it asks for, the same way as if the message had just come.
    ///
    /// # Errors
    /// Where the database does not answer: the letter stays.
    fn take_up(&self, letter: &DeadLetter) -> impl Future<Output = Result<TakenUp, StoreError>> + Send;
}

/// What one look found.
enum All {
    /// What was left is none of this replica's business.
    Seen,
    /// Some are to be looked at again.
    NotDone,
}

/// The index of dead letters: those that a newer version may read.
#[must_use]
pub fn indexes() -> IndexesOf {
    let newer = doc! { "reason": "newer_version" };
    let options = IndexOptions::builder().partial_filter_expression(newer).build();
    let index = IndexModel::builder().keys(doc! { "reason": 1, "_id": 1 }).options(options).build();
    IndexesOf { collection: DEAD_LETTERS, indexes: vec![index] }
}

impl Mongo {
    /// Keeps messages, each once however often it is kept.
    ///
    /// # Errors
    /// Where that is not known to be done: the messages must not be acked.
    pub async fn keep_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        if letters.is_empty() {
            return Ok(());
        }
        let inserted = self.insert_many(DEAD_LETTERS, letters).await?;
        for (place, letter) in letters.iter().enumerate() {
            if inserted.duplicates.iter().all(|(duplicate, _)| *duplicate != place) {
                log(letter);
            }
        }
        inserted.refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Looks for dead letters of newer versions that this one can read after all, until told to stop. `wait` is how
    /// long messages are given back before they become dead letters: there is no need to look more often.
    pub async fn take_up_dead_letters(&self, by: &impl TakeUp, wait: Duration, stop: &CancellationToken) {
        let pause = wait.clamp(Duration::from_secs(1), LONGEST_PAUSE);
        let mut since = DateTime::MIN;
        loop {
            let started_ms = self.clock().now_ms();
            match self.look_once(by, since, stop).await {
                Ok(All::Seen) => since = DateTime::from_millis(started_ms - crate::clock::millis(MARGIN)),
                Ok(All::NotDone) => {}
                Err(error) => debug!(error = chain(&error), "could not look for dead letters"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
            }
        }
    }

    /// Goes once through those that were kept at `since` or later.
    async fn look_once<T: TakeUp>(
        &self,
        by: &T,
        since: DateTime,
        stop: &CancellationToken,
    ) -> Result<All, StoreError> {
        self.prepare_dead_letters().await?;
        let (mut above, mut all) = (Bson::MinKey, All::Seen);
        loop {
            let letters = self.newer_dead_letters(T::STREAMS, since, above).await?;
            let Some(last) = letters.last() else { return Ok(all) };
            above = last.id.clone();
            for letter in letters {
                let taken_up = tokio::select! {
                    () = stop.cancelled() => return Ok(all),
                    taken_up = by.take_up(&letter) => taken_up?,
                };
                if taken_up == TakenUp::NotNow {
                    all = All::NotDone;
                }
                self.settle(&letter, taken_up).await?;
            }
        }
    }

    async fn settle(&self, letter: &DeadLetter, taken_up: TakenUp) -> Result<(), StoreError> {
        let letters = self.collection::<bson::Document>(DEAD_LETTERS);
        let this = doc! { "_id": letter.id.clone() };
        match taken_up {
            TakenUp::Left | TakenUp::NotNow => Ok(()),
            TakenUp::Done => {
                info!(letter = %letter.id, stream = letter.stream, "dead letter of an older replica taken up");
                self.run(async move { letters.delete_one(this).await }).await.map(drop)
            }
        }
    }

    async fn prepare_dead_letters(&self) -> Result<(), StoreError> {
        self.create_indexes(vec![indexes()]).await
    }

    async fn newer_dead_letters(
        &self,
        streams: &[&str],
        since: DateTime,
        above: Bson,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let filter = doc! {
            "reason": "newer_version", "_id": { "$gt": above }, "at": { "$gte": since },
            "stream": { "$in": streams },
        };
        let letters = self.collection::<DeadLetter>(DEAD_LETTERS);
        self.run(async move {
            letters.find(filter).sort(doc! { "reason": 1, "_id": 1 }).limit(BATCH).await?.try_collect().await
        })
        .await
    }
}

fn log(letter: &DeadLetter) {
    warn!(
        subject = letter.subject,
        reason = ?letter.reason,
        error = letter.error,
        "message kept as a dead letter"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_written_and_read_as_ever() {
        let path = format!("{}/fixtures/v1/dead_letter.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let document = bson::Document::try_from(json).unwrap();
        let letter: DeadLetter = bson::deserialize_from_document(document.clone()).unwrap();
        assert_eq!(letter.reason, Reason::NewerVersion);
        assert_eq!(bson::serialize_to_document(&letter).unwrap(), document);
    }
}
