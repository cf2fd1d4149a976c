//! What is done about a message that this version can not read.
//!
//! What is no event at all becomes a dead letter at once. What a newer version may have written is given back
//! for a while, since a newer replica may be there and take it; then it becomes a dead letter too, and a newer replica
//! takes it up from there. So few are given back at once that they never use up what the broker waits for
//! (`max_ack_pending`), and everything else goes on.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::jetstream::Message;

use shared_events::Timestamp;

/// The longest that a message may be given back again and again.
pub const MAX_WAIT: Duration = Duration::from_secs(600);

/// How many messages of a stream one replica may have given back at once; over that, what arrives becomes a dead letter.
pub(super) const MAX_GIVEN_BACK: usize = 1000;

/// After how long a message that is given back comes again, at most.
const MAX_PAUSE: Duration = Duration::from_secs(5);
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// What to do about a message that can not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The broker is to deliver it again after this time, to whoever is there then.
    GiveBack(Duration),
    /// It is kept as a dead letter, and acked.
    DeadLetter,
}

/// One delivery of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The message's number in its stream.
    pub sequence: u64,
    /// How many times it was delivered, this one counted.
    pub count: u64,
    /// How long ago the stream took it.
    pub age: Duration,
}

impl Delivery {
    /// What the broker says about this delivery; a message that came without it counts as a first one.
    #[must_use]
    pub fn of(message: &Message, now: Timestamp) -> Self {
        let Ok(info) = message.info() else {
            return Self { sequence: 0, count: 1, age: Duration::ZERO };
        };
        let published = Timestamp::from_unix_nanos(info.published.unix_timestamp_nanos());
        Self {
            sequence: info.stream_sequence,
            count: u64::try_from(info.delivered).unwrap_or(1),
            age: now.since(published),
        }
    }
}

/// Decides about a message that can not be read.
///
/// `wait` is how long such messages are given back: counted from when the stream took the message, and by the number
/// of its deliveries too, so that no clock can make it longer. `has_room` says whether one more may be given back.
#[must_use]
pub(super) fn decide(may_be_newer: bool, delivery: Delivery, has_room: bool, wait: Duration) -> Decision {
    let pause = pause(wait);
    let most = wait.as_millis() / pause.as_millis();
    let is_over = delivery.age >= wait || u128::from(delivery.count) > most;
    if may_be_newer && has_room && !is_over { Decision::GiveBack(pause) } else { Decision::DeadLetter }
}

fn pause(wait: Duration) -> Duration {
    (wait / 20).clamp(MIN_PAUSE, MAX_PAUSE)
}

/// The messages of one stream that this replica has given back.
#[derive(Debug)]
pub struct GivenBack {
    wait: Duration,
    /// Sequence, and until when it counts: another replica may have got it meanwhile.
    out: Mutex<HashMap<u64, Instant>>,
}

impl GivenBack {
    /// Messages are given back for `wait`, at most [`MAX_WAIT`].
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self { wait: wait.min(MAX_WAIT), out: Mutex::default() }
    }

    /// `decide`, with regard to how many are given back already.
    #[must_use]
    pub fn decide(&self, may_be_newer: bool, delivery: Delivery) -> Decision {
        self.decide_at(may_be_newer, delivery, Instant::now())
    }

    fn decide_at(&self, may_be_newer: bool, delivery: Delivery, now: Instant) -> Decision {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.remove(&delivery.sequence);
        if out.len() >= MAX_GIVEN_BACK {
            out.retain(|_, until| *until > now);
        }
        let decision = decide(may_be_newer, delivery, out.len() < MAX_GIVEN_BACK, self.wait);
        if let Decision::GiveBack(pause) = decision {
            out.insert(delivery.sequence, now + 2 * pause);
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(600);

    fn delivery(count: u64, age_s: u64) -> Delivery {
        Delivery { sequence: 1, count, age: Duration::from_secs(age_s) }
    }

    #[test]
    fn what_is_done_about_a_message_that_can_not_be_read() {
        let again = Decision::GiveBack(Duration::from_secs(5));
        let table = [
            ("no event at all", false, delivery(1, 0), true, Decision::DeadLetter),
            ("newer, new", true, delivery(1, 0), true, again),
            ("newer, too many others", true, delivery(1, 0), false, Decision::DeadLetter),
            ("newer, waited for a while", true, delivery(100, 599), true, again),
            ("newer, waited for long", true, delivery(100, 600), true, Decision::DeadLetter),
            ("newer, lay in the stream for long", true, delivery(1, 7200), true, Decision::DeadLetter),
            ("newer, by a clock that stands still", true, delivery(120, 0), true, again),
            ("newer, the same, delivered often enough", true, delivery(121, 0), true, Decision::DeadLetter),
        ];
        for (what, may_be_newer, delivery, has_room, expected) in table {
            assert_eq!(decide(may_be_newer, delivery, has_room, WAIT), expected, "{what}");
        }
    }

    #[test]
    fn a_wait_of_nothing_gives_nothing_back() {
        assert_eq!(decide(true, delivery(1, 0), true, Duration::ZERO), Decision::DeadLetter);
    }

    #[test]
    fn only_so_many_are_given_back_at_once_and_those_that_are_gone_do_not_count_for_long() {
        let (given_back, now) = (GivenBack::new(WAIT), Instant::now());
        let decide = |sequence, now| {
            given_back.decide_at(true, Delivery { sequence, count: 1, age: Duration::ZERO }, now)
        };
        let most = MAX_GIVEN_BACK as u64;
        assert!((0..most).all(|sequence| decide(sequence, now) != Decision::DeadLetter));
        assert_eq!(decide(most, now), Decision::DeadLetter);
        assert_ne!(decide(0, now), Decision::DeadLetter, "one of them comes again");
        // Another replica got them.
        assert_ne!(decide(most, now + 2 * MAX_PAUSE), Decision::DeadLetter);
    }
}
