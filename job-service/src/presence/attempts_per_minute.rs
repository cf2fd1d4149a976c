//! How many attempts were started within the last minute, from a number that only grows.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// How far apart two samples are at least.
const APART: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AttemptsPerMinute {
    /// The oldest first: how many there had been, and when.
    samples: VecDeque<(Instant, u64)>,
}

impl AttemptsPerMinute {
    /// How many of the `started` attempts were started within the minute before `now`, to a second; of a worker that is
    /// younger, all.
    pub(super) fn at(&mut self, now: Instant, started: u64) -> u64 {
        if self.samples.is_empty() {
            self.samples.push_back((now, 0));
        }
        // The latest sample that is a minute old is where the minute begins.
        while self.samples.get(1).is_some_and(|(at, _)| now - *at >= MINUTE) {
            self.samples.pop_front();
        }
        if self.samples.back().is_some_and(|(at, _)| now - *at >= APART) {
            self.samples.push_back((now, started));
        }
        let before = self.samples.front().map_or(0, |(_, before)| *before);
        started.saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_counts_no_more() {
        let (mut attempts, begin) = (AttemptsPerMinute::default(), Instant::now());
        let mut at = |second, started| attempts.at(begin + Duration::from_secs(second), started);
        assert_eq!(at(0, 5), 5, "what was started before the first look");
        for second in 1..=59 {
            assert_eq!(at(second, 5 + second), 5 + second);
        }
        assert_eq!(at(61, 66), 60, "one a second");
        assert_eq!(at(120, 66), 2, "those since the look at 59 s");
        assert_eq!(at(300, 66), 0);
        assert_eq!(at(301, 70), 4);
    }

    #[test]
    fn many_looks_a_second_keep_few_samples() {
        let (mut attempts, begin) = (AttemptsPerMinute::default(), Instant::now());
        for look in 0..10_000 {
            attempts.at(begin + Duration::from_millis(20 * look), look);
        }
        assert!(attempts.samples.len() <= 62, "{}", attempts.samples.len());
    }
}
