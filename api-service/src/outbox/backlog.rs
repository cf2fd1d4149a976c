//! How many announcements wait for the broker, so that new jobs can be refused before the outbox
//! grows over its limit. What waits because its queue has no room counts for that queue alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared_events::Queue;

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub struct Backlog {
    max: u64,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    marked: u64,
    without_room: HashMap<Queue, u64>,
}

impl Backlog {
    /// At most `max` announcements may wait.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self { max, counts: Arc::default() }
    }

    /// The limit.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Whether there is no room for one more job of this queue.
    #[must_use]
    pub fn is_full(&self, queue: &Queue) -> bool {
        self.with(|counts| counts.marked + counts.without_room.get(queue).copied().unwrap_or(0) >= self.max)
    }

    /// One more waits for the broker.
    pub fn add_marked(&self) {
        self.with(|counts| counts.marked += 1);
    }

    /// One more waits until its queue has room.
    pub fn add_without_room(&self, queue: &Queue) {
        self.with(|counts| *counts.without_room.entry(queue.clone()).or_default() += 1);
    }

    /// How many wait, for the broker or for room.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.with(|counts| counts.marked + counts.without_room.values().sum::<u64>())
    }

    /// Whether something waits for the broker, or did when that was last counted.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.with(|counts| counts.marked > 0)
    }

    /// The queues that wait for room.
    #[must_use]
    pub fn queues_without_room(&self) -> Vec<Queue> {
        self.with(|counts| counts.without_room.keys().cloned().collect())
    }

    /// Takes over a count of all replicas' marks; what was added while it was made is in it.
    pub fn set_marked(&self, counted: u64) {
        self.with(|counts| counts.marked = counted);
    }

    /// Takes over a count of what waits for room; what was added while it was made is in it.
    pub fn set_without_room(&self, counted: HashMap<Queue, u64>) {
        self.with(|counts| counts.without_room = counted);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_room_is_full_alone_and_an_absent_broker_fills_all() {
        let (backlog, full, other) = (Backlog::new(2), "full".parse().unwrap(), Queue::default());
        backlog.add_without_room(&full);
        backlog.add_without_room(&full);
        assert!(backlog.is_full(&full) && !backlog.is_full(&other));
        backlog.set_without_room(HashMap::new());
        assert!(!backlog.is_full(&full));
        backlog.add_marked();
        backlog.add_marked();
        assert!(backlog.is_full(&full) && backlog.is_full(&other));
    }
}
