//! Which store of the broker this is: its number grows whenever JetStream lost its store or got an
//! older copy back. What was announced to an earlier one has to be announced again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::sync::Notify;

/// What this replica knows of `JOBS`. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct BrokerStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    number: AtomicI64,
    highest: AtomicI64,
    suspicious: AtomicBool,
    suspected: Notify,
}

impl BrokerStore {
    /// The store's number.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.0.number.load(Ordering::Acquire)
    }

    /// The highest sequence that this replica has seen.
    #[must_use]
    pub fn highest(&self) -> i64 {
        self.0.highest.load(Ordering::Acquire)
    }

    /// A message was stored at `sequence`; when it was sent, `before` was the highest. Sequences of
    /// one store only grow, so one that is not above `before` is of an older copy.
    pub fn seen(&self, before: i64, sequence: i64) {
        self.0.highest.fetch_max(sequence, Ordering::AcqRel);
        if sequence <= before {
            self.0.suspicious.store(true, Ordering::Release);
            self.0.suspected.notify_one();
        }
    }

    /// Whether there was a suspicion since the last time this was asked.
    #[must_use]
    pub fn take_suspicion(&self) -> bool {
        self.0.suspicious.swap(false, Ordering::AcqRel)
    }

    /// Waits for a suspicion.
    pub async fn suspected(&self) {
        self.0.suspected.notified().await;
    }

    /// It is this store from now on, with this highest sequence.
    pub fn set(&self, number: i64, highest: i64) {
        self.0.number.store(number, Ordering::Release);
        self.0.highest.store(highest, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_sequence_that_is_not_above_those_seen_before_sending_is_suspicious() {
        let store = BrokerStore::default();
        store.set(1, 10);
        // Acks of concurrent publishes may come in any order.
        store.seen(10, 12);
        store.seen(10, 11);
        assert!(store.suspected().now_or_never().is_none());
        store.seen(12, 12);
        assert!(store.suspected().now_or_never().is_some());
    }
}
