//! Under load, larger groups: a command costs the database nearly as much for one document as for
//! ten, so where writes keep coming, the next command starts a little later and takes more of them along.
//!
//! How much later follows from how long commands take, which tells how busy the machine is: on a
//! quiet one they take less than a millisecond, and so do these pauses. Nor does a group wait that
//! is large [`BATCH_ENOUGH`].

use std::time::Duration;

use tokio::time::Instant;

/// A command starts this many times as long after the one before as that one took.
const TIMES: u32 = 8;

/// A group of so many members goes without a pause: what one more saves is little.
pub const BATCH_ENOUGH: usize = 64;

/// Spaces the commands of one queue.
#[derive(Debug, Clone, Copy)]
pub struct BatchPacing {
    longest: Duration,
}

impl BatchPacing {
    /// Commands never start more than `longest` apart on account of this; zero never waits.
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self { longest }
    }

    /// Call this when a command is done that started at `started` with so many members: until when the next
    /// group is to grow, unless it is large [`BATCH_ENOUGH`] before. After a lone member that is now.
    #[must_use]
    pub fn next(&self, started: Instant, members: usize) -> Instant {
        let now = Instant::now();
        if members > 1 { started + ((now - started) * TIMES).min(self.longest) } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);

    /// How long after its start a command of so many members that took `took` is followed by the next.
    async fn next_after(took: Duration, members: usize, longest: Duration) -> Duration {
        let started = Instant::now();
        tokio::time::advance(took).await;
        BatchPacing::new(longest).next(started, members) - started
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_member_is_followed_at_once() {
        let took = Duration::from_millis(2);
        assert_eq!(next_after(took, 1, LONGEST).await, took);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_command_is_followed_soon() {
        assert_eq!(next_after(Duration::from_millis(1), 2, LONGEST).await, Duration::from_millis(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_command_is_followed_when_its_time_has_come() {
        assert_eq!(next_after(Duration::from_millis(9), 50, LONGEST).await, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_took_longer_than_that_is_followed_at_once() {
        let took = Duration::from_millis(30);
        assert!(next_after(took, 50, LONGEST).await <= took);
        assert!(next_after(took, 50, Duration::ZERO).await <= took);
    }
}
