//! How many announcements wait for the broker, so that new jobs can be refused before the outbox
//! grows over its limit.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub struct Backlog {
    max: u64,
    counted: Arc<AtomicU64>,
    since: Arc<AtomicU64>,
}

impl Backlog {
    /// At most `max` may wait.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self { max, counted: Arc::default(), since: Arc::default() }
    }

    /// The limit.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Whether there is no room for one more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.counted.load(Ordering::Relaxed) + self.since.load(Ordering::Relaxed) >= self.max
    }

    /// One more waits.
    pub fn add_one(&self) {
        self.since.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether something waits, or did when it was last counted.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.counted.load(Ordering::Relaxed) + self.since.load(Ordering::Relaxed) > 0
    }

    /// Takes over a count of all replicas' marks; what was added while it was made is in it.
    pub fn set(&self, counted: u64) {
        self.counted.store(counted, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
    }
}
