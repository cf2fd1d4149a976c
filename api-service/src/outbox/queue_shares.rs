//! How the room of `JOBS` is shared between queues, so that one that nobody serves can not fill the stream for all.
//!
//! A queue may hold as many bytes as are still free ("dynamic thresholds" of Choudhury and Hahne, IEEE/ACM Transactions
//! on Networking 6/2, 1998): one queue alone may hold half of the stream, two a third each, and something is always
//! left for the next. How much a queue holds is known roughly: the broker says how many messages it has of it, and how
//! large they are follows from what this replica has published. What other replicas publish is known from the next look
//! on; so between two looks a replica publishes no more than an [`ALLOWANCE`] of what a queue may still have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared_events::Queue;

/// See the module. Copies share it.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueShares(Arc<Mutex<Room>>);

/// The stream's bytes, as far as this replica knows.
#[derive(Debug, Default)]
struct Room {
    /// The most that the stream may hold; none where it has no limit, or that is not known yet.
    limit: Option<f64>,
    /// What the stream held at the latest look.
    seen: f64,
    /// What this replica has published since.
    added: f64,
    queues: HashMap<Queue, Held>,
}

/// What is known of a queue, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// What it held at the latest look.
    seen: f64,
    /// What this replica has published for it since.
    added: f64,
    /// The mean size of its messages; 0 where this replica has published none.
    message: f64,
}

/// How much of what a queue may still have one replica publishes between two looks: four that see nothing of each other
/// stay within it.
const ALLOWANCE: f64 = 0.25;

/// How many queues are remembered that hold nothing: clients choose their names.
const REMEMBERED: usize = 10_000;

/// How much of the mean size the latest message makes.
const LATEST: f64 = 0.05;

impl Room {
    /// How many bytes this replica may publish for the queue now.
    fn left_for(&self, queue: &Queue) -> f64 {
        let Some(limit) = self.limit else { return f64::INFINITY };
        let Held { seen, added, .. } = self.queues.get(queue).copied().unwrap_or_default();
        // All that is free is for the others too, so half of the difference is for this one.
        let share = |used: f64, held: f64| (limit - used - held) / 2.0;
        let allowed = share(self.seen, seen) * ALLOWANCE - added;
        share(self.seen + self.added, seen + added).min(allowed)
    }

    /// The mean size of the queue's messages; large where nothing is known, so that one shows how large they are.
    fn message_of(&self, queue: &Queue) -> f64 {
        self.queues.get(queue).map(|held| held.message).filter(|size| *size > 0.0).unwrap_or(f64::MAX)
    }
}

impl QueueShares {
    /// Whether this replica may publish something for the queue now.
    #[must_use]
    pub(super) fn has_room(&self, queue: &Queue) -> bool {
        self.with(|room| room.left_for(queue) > 0.0)
    }

    /// How many messages of the queue's mean size this replica may publish now; at least one where it has room.
    #[must_use]
    pub(super) fn messages_with_room(&self, queue: &Queue) -> usize {
        let (room, message) = self.with(|room| (room.left_for(queue), room.message_of(queue)));
        if room <= 0.0 { 0 } else { (room / message.max(1.0)).max(1.0) as usize }
    }

    /// Whether so much is used that it matters which queue uses it.
    #[must_use]
    pub(super) fn is_tight(limit: u64, used: u64) -> bool {
        used > limit / 4
    }

    /// The stream has one more message of this queue.
    pub(super) fn add(&self, queue: &Queue, bytes: usize) {
        let bytes = bytes as f64;
        self.with(|room| {
            room.added += bytes;
            let held = room.queues.entry(queue.clone()).or_default();
            held.added += bytes;
            held.message =
                if held.message == 0.0 { bytes } else { held.message + (bytes - held.message) * LATEST };
        });
    }

    /// Takes over what the broker says: the most bytes that the stream may hold, how many it holds, of how many
    /// messages, and, where that matters, how many of them are of each queue.
    pub(super) fn set(&self, limit: Option<u64>, used: u64, messages: u64, by_queue: &HashMap<Queue, u64>) {
        let mean = used as f64 / messages.max(1) as f64;
        self.with(|room| {
            room.limit = limit.map(|limit| limit as f64);
            (room.seen, room.added) = (used as f64, 0.0);
            if room.queues.len() > REMEMBERED {
                room.queues.clear();
            }
            room.queues.values_mut().for_each(|held| (held.seen, held.added) = (0.0, 0.0));
            for (queue, count) in by_queue {
                let held = room.queues.entry(queue.clone()).or_default();
                held.seen = *count as f64 * if held.message == 0.0 { mean } else { held.message };
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

    const LIMIT: u64 = 16_000;
    const MESSAGE: u64 = 10;

    fn queue(name: &str) -> Queue {
        name.parse().unwrap()
    }

    /// A broker that holds messages of one size.
    #[derive(Default)]
    struct Stream(HashMap<Queue, u64>);

    impl Stream {
        fn show_to(&self, replica: &QueueShares) {
            let messages = self.0.values().sum();
            let used = messages * MESSAGE;
            let unseen = HashMap::new();
            let by_queue = if QueueShares::is_tight(LIMIT, used) { &self.0 } else { &unseen };
            replica.set(Some(LIMIT), used, messages, by_queue);
        }

        /// All replicas publish what they may, without seeing anything of each other, after each of some looks.
        fn fill(&mut self, replicas: &[QueueShares], name: &str, looks: usize) -> u64 {
            for _ in 0..looks {
                replicas.iter().for_each(|replica| self.show_to(replica));
                for replica in replicas {
                    while replica.has_room(&queue(name)) {
                        replica.add(&queue(name), MESSAGE as usize);
                        *self.0.entry(queue(name)).or_default() += 1;
                    }
                }
            }
            self.0[&queue(name)] * MESSAGE
        }
    }

    fn replicas(count: usize) -> Vec<QueueShares> {
        (0..count).map(|_| QueueShares::default()).collect()
    }

    #[test]
    fn one_queue_gets_half_and_the_next_a_part_of_what_is_left() {
        let (mut stream, replicas) = (Stream::default(), replicas(1));
        assert_eq!(stream.fill(&replicas, "a", 50), 8000);
        assert_eq!(stream.fill(&replicas, "b", 50), 4000);
        assert_eq!(stream.fill(&replicas, "c", 50), 2000);
        stream.show_to(&replicas[0]);
        assert!(replicas[0].has_room(&queue("d")));
    }

    #[test]
    fn replicas_that_see_nothing_of_each_other_leave_a_third_of_the_stream_to_other_queues() {
        for count in 1..=4 {
            for looks in 1..20 {
                let held = Stream::default().fill(&replicas(count), "a", looks);
                assert!(held <= LIMIT * 2 / 3, "{count} replicas after {looks} looks: {held}");
            }
        }
    }

    #[test]
    fn a_queue_that_is_served_gets_room_again() {
        let (mut stream, replicas) = (Stream::default(), replicas(1));
        stream.fill(&replicas, "a", 50);
        assert!(!replicas[0].has_room(&queue("a")));
        stream.0.insert(queue("a"), 10);
        stream.show_to(&replicas[0]);
        assert!(replicas[0].has_room(&queue("a")));
    }

    #[test]
    fn large_messages_count_for_their_own_queue() {
        let shares = QueueShares::default();
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
        let shares = QueueShares::default();
        shares.set(Some(LIMIT), 0, 0, &HashMap::new());
        assert_eq!(shares.messages_with_room(&queue("a")), 1, "nothing is known of their size");
        shares.add(&queue("a"), 500);
        assert_eq!(shares.messages_with_room(&queue("a")), 3, "a quarter of half, less what was added");
        shares.add(&queue("a"), 1500);
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
