//! How the room of `JOBS` is shared between queues, so that one that nobody serves can not fill the stream for all.
//!
//! A queue may hold as many bytes as are still free ("dynamic thresholds" of Choudhury and Hahne, IEEE/ACM Transactions
//! on Networking 6/2, 1998): one queue alone may hold half of the stream, two a third each, and something is always
//! left for the next. How much a queue holds is known roughly: the broker says how many messages it has of it, and how
//! large they are follows from what this replica has published.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared_events::Queue;

/// See the module. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct QueueShares(Arc<Mutex<Room>>);

/// The stream's bytes, as far as this replica knows.
#[derive(Debug, Default)]
struct Room {
    /// The most that the stream may hold; none where it has no limit, or that is not known yet.
    limit: Option<f64>,
    used: f64,
    queues: HashMap<Queue, Held>,
}

/// What is known of a queue.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    bytes: f64,
    /// The mean size of its messages; 0 where this replica has published none.
    message: f64,
}

/// How much of the mean size the latest message makes.
const LATEST: f64 = 0.05;

impl Room {
    /// How many bytes more the queue may hold. All that is free is for the others too, so that is half of the difference.
    fn left_for(&self, queue: &Queue) -> f64 {
        let held = self.queues.get(queue).map_or(0.0, |held| held.bytes);
        self.limit.map_or(f64::INFINITY, |limit| (limit - self.used - held) / 2.0)
    }

    /// The mean size of the queue's messages; large where nothing is known, so that one shows how large they are.
    fn message_of(&self, queue: &Queue) -> f64 {
        self.queues.get(queue).map(|held| held.message).filter(|size| *size > 0.0).unwrap_or(f64::MAX)
    }
}

impl QueueShares {
    /// Whether the queue may hold more than it does.
    #[must_use]
    pub fn has_room(&self, queue: &Queue) -> bool {
        self.with(|room| room.left_for(queue) > 0.0)
    }

    /// How many more messages of its mean size the queue may hold; at least one where it has room.
    #[must_use]
    pub fn messages_with_room(&self, queue: &Queue) -> usize {
        let (room, message) = self.with(|room| (room.left_for(queue), room.message_of(queue)));
        if room <= 0.0 { 0 } else { (room / message.max(1.0)).max(1.0) as usize }
    }

    /// Whether so much is used that it matters which queue uses it.
    #[must_use]
    pub fn is_tight(limit: u64, used: u64) -> bool {
        used > limit / 2
    }

    /// The stream has one more message of this queue.
    pub fn add(&self, queue: &Queue, bytes: usize) {
        let bytes = bytes as f64;
        self.with(|room| {
            room.used += bytes;
            let held = room.queues.entry(queue.clone()).or_default();
            held.bytes += bytes;
            held.message =
                if held.message == 0.0 { bytes } else { held.message + (bytes - held.message) * LATEST };
        });
    }

    /// Takes over what the broker says: the most bytes that the stream may hold, how many it holds, of how many
    /// messages, and, where that matters, how many of them are of each queue.
    pub fn set(&self, limit: Option<u64>, used: u64, messages: u64, by_queue: &HashMap<Queue, u64>) {
        let mean = used as f64 / messages.max(1) as f64;
        self.with(|room| {
            room.limit = limit.map(|limit| limit as f64);
            room.used = used as f64;
            room.queues.values_mut().for_each(|held| held.bytes = 0.0);
            for (queue, count) in by_queue {
                let held = room.queues.entry(queue.clone()).or_default();
                held.bytes = *count as f64 * if held.message == 0.0 { mean } else { held.message };
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Room) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 12_000;

    fn queue(name: &str) -> Queue {
        name.parse().unwrap()
    }

    /// Publishes messages of 100 bytes for as long as there is room; how many that were.
    fn fill(shares: &QueueShares, name: &str) -> u64 {
        let mut count = 0;
        while shares.has_room(&queue(name)) {
            shares.add(&queue(name), 100);
            count += 1;
        }
        count
    }

    fn empty() -> QueueShares {
        let shares = QueueShares::default();
        shares.set(Some(LIMIT), 0, 0, &HashMap::new());
        shares
    }

    #[test]
    fn one_queue_gets_half_and_the_next_a_part_of_what_is_left() {
        let shares = empty();
        assert_eq!(fill(&shares, "a"), 60);
        assert_eq!(fill(&shares, "b"), 30);
        assert_eq!(fill(&shares, "c"), 15);
        assert!(shares.has_room(&queue("d")));
    }

    #[test]
    fn a_queue_that_is_served_gets_room_again() {
        let shares = empty();
        fill(&shares, "a");
        shares.set(Some(LIMIT), 1000, 10, &[(queue("a"), 10)].into());
        assert!(shares.has_room(&queue("a")));
    }

    #[test]
    fn large_messages_count_for_their_own_queue() {
        let shares = empty();
        shares.add(&queue("large"), 5000);
        for _ in 0..10 {
            shares.add(&queue("small"), 100);
        }
        // The broker counts messages, not bytes.
        let counts = [(queue("large"), 1), (queue("small"), 10)].into();
        shares.set(Some(9000), 6000, 11, &counts);
        assert!(!shares.has_room(&queue("large")) && shares.has_room(&queue("small")));
    }

    #[test]
    fn room_is_told_in_messages() {
        let shares = empty();
        assert_eq!(shares.messages_with_room(&queue("a")), 1, "nothing is known of their size");
        shares.add(&queue("a"), 1000);
        assert_eq!(shares.messages_with_room(&queue("a")), 5);
        fill(&shares, "a");
        assert_eq!(shares.messages_with_room(&queue("a")), 0);
    }

    #[test]
    fn without_a_limit_there_is_always_room() {
        let shares = QueueShares::default();
        assert!(shares.has_room(&queue("a")));
        shares.set(None, u64::MAX, 1, &[(queue("a"), 1)].into());
        assert!(shares.has_room(&queue("a")));
    }
}
