//! Whether the database takes journaled writes, without writing each time somebody asks.
//!
//! A write that the service had done anyway shows as much as a probe, unless the database failed since or does not
//! answer any more. Where there was none lately, whoever asks first writes a probe, and all who ask meanwhile share
//! its outcome.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bson::doc;
use tokio::time::Instant;

use super::Mongo;
use crate::StoreError;

/// How long a write, or a probe's failure, stands for what the database would do now.
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// How long a probe may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// What is known of the database's taking writes.
#[derive(Debug, Default)]
pub(super) struct Writable {
    /// When the latest journaled write that was done was asked for; none since the latest failure.
    written: Mutex<Option<Instant>>,
    /// Held by whoever probes: when the latest probe failed.
    probe: tokio::sync::Mutex<Option<Instant>>,
}

impl Writable {
    /// A journaled write that was asked for at `asked` is done.
    pub(super) fn written(&self, asked: Instant) {
        let mut written = self.lock();
        *written = (*written).max(Some(asked));
    }

    /// The database failed: what it did before says nothing any more.
    pub(super) fn failed(&self) {
        *self.lock() = None;
    }

    fn is_known(&self) -> bool {
        self.lock().is_some_and(is_recent)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(instant: Instant) -> bool {
    instant.elapsed() < KNOWN_FOR
}

impl Mongo {
    /// Whether the database takes journaled writes: it answers, and has taken one within the last two seconds or takes
    /// a date into the collection `probes` now; `prober` names who asks.
    ///
    /// # Errors
    /// Where it does not, within two seconds.
    pub async fn check_writable(&self, prober: &str) -> Result<(), StoreError> {
        if self.writable.is_known() {
            return self.ping().await;
        }
        let mut failed = self.writable.probe.lock().await;
        if self.writable.is_known() {
            return Ok(());
        }
        if failed.is_some_and(is_recent) {
            return Err(StoreError::Unknown);
        }
        let probed = self.probe(prober).await;
        *failed = probed.is_err().then(Instant::now);
        probed
    }

    /// A database that has gone since its latest write is noticed at once.
    async fn ping(&self) -> Result<(), StoreError> {
        let mongo = self.clone();
        let ping = self.run(async move { mongo.database.run_command(doc! { "ping": 1 }).await });
        let pong = tokio::time::timeout(PROBE_DEADLINE, ping).await.unwrap_or(Err(StoreError::Unknown));
        if pong.is_err() {
            self.writable.failed();
        }
        pong.map(drop)
    }

    async fn probe(&self, prober: &str) -> Result<(), StoreError> {
        let (asked, probes) = (Instant::now(), self.collection::<bson::Document>("probes"));
        let (id, now) = (doc! { "_id": prober }, doc! { "$set": { "at": self.clock().now() } });
        let write = self.run(async move { probes.update_one(id, now).upsert(true).await });
        tokio::time::timeout(PROBE_DEADLINE, write).await.unwrap_or(Err(StoreError::Unknown))?;
        self.writable.written(asked);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_known_until_the_database_fails() {
        let writable = Writable::default();
        assert!(!writable.is_known());
        writable.written(Instant::now());
        assert!(writable.is_known());
        writable.failed();
        assert!(!writable.is_known());
    }

    #[test]
    fn a_write_that_was_asked_for_long_ago_says_nothing() {
        let writable = Writable::default();
        writable.written(Instant::now().checked_sub(KNOWN_FOR).unwrap());
        assert!(!writable.is_known());
    }
}
