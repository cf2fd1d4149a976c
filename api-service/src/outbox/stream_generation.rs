//! Generations of a stream: they count how often its store was lost or set back to an older copy. What went to an
//! earlier one may be gone, and has to be sent again.
//!
//! What is known is in the database, where replicas agree on it ([`StreamState`], `stream_states.rs`); what this replica
//! has seen itself is here. [`compare`] decides.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use service_kit::nats::Stored;
use tokio::sync::{Notify, watch};

use crate::jobs::Generations;

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The stream.
    #[serde(rename = "_id")]
    pub stream: String,
    /// When the stream was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// See the module; from 1.
    pub generation: i64,
    /// The highest sequence that anybody has written down.
    pub last: i64,
    /// Of `JOB_EVENTS`: up to which sequence all are applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<i64>,
}

/// A stream as the broker has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamNow {
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Its highest sequence.
    pub last: i64,
}

/// What this replica has seen of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeenHere {
    /// In which generation; 0 before the first look.
    pub generation: i64,
    /// The highest sequence in it.
    pub highest: i64,
    /// Something was stored at a sequence that this generation had used before.
    pub contradicted: bool,
}

/// What a look at a stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// Nothing was known of it.
    New,
    /// It goes on from what is known.
    Same,
    /// Its store was lost or set back.
    Lost,
}

/// Compares what is `known` with the stream as it is `now`, which has to be asked for later than the other two.
#[must_use]
pub(super) fn compare(known: Option<&StreamState>, here: &SeenHere, now: &StreamNow) -> Compared {
    let Some(known) = known else { return Compared::New };
    let here = Some(here).filter(|here| here.generation == known.generation);
    let goes_on = known.created_ms == now.created_ms && known.last <= now.last;
    if goes_on && here.is_none_or(|here| here.highest <= now.last && !here.contradicted) {
        Compared::Same
    } else {
        Compared::Lost
    }
}

/// One stream's generation, as far as this replica knows. Copies share it.
#[derive(Debug, Clone)]
pub struct StreamGeneration(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seen: Mutex<SeenHere>,
    generation: watch::Sender<i64>,
    to_be_looked_at: Arc<Notify>,
}

/// What was known of a stream just before something was sent to it.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    generation: i64,
    highest: i64,
}

impl StreamGeneration {
    fn new(to_be_looked_at: Arc<Notify>) -> Self {
        let generation = watch::Sender::new(0);
        Self(Arc::new(Inner { seen: Mutex::default(), generation, to_be_looked_at }))
    }

    /// The generation; 0 before the first look.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.seen().generation
    }

    /// What this replica has seen.
    #[must_use]
    pub fn seen(&self) -> SeenHere {
        self.with(|seen| *seen)
    }

    /// To be called before something is sent.
    #[must_use]
    pub fn sent(&self) -> Sent {
        let SeenHere { generation, highest, .. } = self.seen();
        Sent { generation, highest }
    }

    /// In which generation the broker has stored what was sent; none where that can not be told. Sequences of one
    /// generation only grow, so one that is not above those known when it was sent is of another.
    #[must_use]
    pub fn stored(&self, sent: Sent, stored: Stored) -> Option<i64> {
        let sequence = i64::try_from(stored.sequence).unwrap_or(i64::MAX);
        let is_older = sequence <= sent.highest && !stored.duplicate;
        let generation = self.with(|seen| {
            if seen.generation != sent.generation || seen.generation == 0 {
                return None;
            }
            seen.contradicted |= is_older;
            seen.highest = seen.highest.max(sequence);
            (!seen.contradicted).then_some(seen.generation)
        });
        if is_older {
            self.look_soon();
        }
        generation
    }

    /// A message came from this sequence.
    pub fn saw(&self, sequence: u64) {
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.with(|seen| seen.highest = seen.highest.max(sequence));
    }

    /// A message that was not delivered before has a sequence below others that are older than itself.
    pub fn contradict(&self) {
        self.with(|seen| seen.contradicted = seen.generation != 0);
        self.look_soon();
    }

    /// It is this generation from now on, with this highest sequence; whether that is another one than before.
    pub fn set(&self, generation: i64, last: i64) -> bool {
        let changed = self.with(|seen| {
            let changed = seen.generation != generation;
            let highest = if changed { last } else { seen.highest.max(last) };
            *seen = SeenHere { generation, highest, contradicted: seen.contradicted && !changed };
            changed
        });
        self.0.generation.send_replace(generation);
        changed
    }

    /// Waits until this replica knows of `generation`; false after `timeout`.
    pub async fn reaches(&self, generation: i64, timeout: Duration) -> bool {
        let mut known = self.0.generation.subscribe();
        if *known.borrow() >= generation {
            return true;
        }
        self.look_soon();
        tokio::time::timeout(timeout, known.wait_for(|known| *known >= generation)).await.is_ok()
    }

    fn look_soon(&self) {
        self.0.to_be_looked_at.notify_one();
    }

    fn with<T>(&self, act: impl FnOnce(&mut SeenHere) -> T) -> T {
        act(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The generations of all three streams. Copies share them.
#[derive(Debug, Clone)]
pub struct StreamGenerations {
    /// Of `JOBS`.
    pub jobs: StreamGeneration,
    /// Of `JOB_EVENTS`.
    pub events: StreamGeneration,
    /// Of `JOB_CONTROL`.
    pub control: StreamGeneration,
    to_be_looked_at: Arc<Notify>,
}

impl Default for StreamGenerations {
    fn default() -> Self {
        let to_be_looked_at = Arc::new(Notify::new());
        let one = || StreamGeneration::new(Arc::clone(&to_be_looked_at));
        Self { jobs: one(), events: one(), control: one(), to_be_looked_at }
    }
}

impl StreamGenerations {
    /// All three numbers.
    #[must_use]
    pub fn numbers(&self) -> Generations {
        Generations { jobs: self.jobs.number(), events: self.events.number(), control: self.control.number() }
    }

    /// Waits until one of them is to be looked at before its time.
    pub async fn to_be_looked_at(&self) {
        self.to_be_looked_at.notified().await;
    }
}

#[cfg(test)]
mod tests;
