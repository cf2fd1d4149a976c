//! Pauses: between tries that go on until something works, and between looks that replicas should not all take at once.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double, from 100 ms up to 5 s, each with up to as much again at random. They never end.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Default for Backoff {
    fn default() -> Self {
        Self(
            ExponentialBuilder::default()
                .with_min_delay(SHORTEST)
                .with_max_delay(LONGEST)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }
}

impl Backoff {
    /// Waits for the next pause.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.0.next().unwrap_or(LONGEST)).await;
    }
}

/// The duration, a quarter less or more at random.
#[must_use]
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.75..1.25))
}

/// A pause of a moment at random, before something is looked up again that many may miss at once.
#[must_use]
pub fn moment() -> Duration {
    Duration::from_millis(rand::random_range(50..500))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_never_end() {
        let mut backoff = Backoff::default();
        let mut expected = SHORTEST;
        for _ in 0..50 {
            let started = Instant::now();
            backoff.pause().await;
            let pause = started.elapsed();
            // A timer may be a millisecond late.
            let longest = 2 * expected + Duration::from_millis(1);
            assert!(expected <= pause && pause <= longest, "{pause:?} instead of {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
    }
}
