//! Under load, larger groups: a command costs the database nearly as much for one document as for
//! ten, so where many arrive, the next command starts a little later and takes more of them along.
//!
//! Below that rate nothing ever waits, so that a quiet system is as prompt as it can be.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// From so many members a second on there is load.
const LOAD_PER_S: f64 = 1500.0;

/// A group smaller than this shows no load, however soon it came after the one before.
const LOAD_MEMBERS: usize = 8;

/// Spaces the commands of one queue.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    previous: Mutex<Option<Instant>>,
}

impl Pace {
    /// Under load, a command starts `every` after the one before; zero never waits.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, previous: Mutex::new(None) }
    }

    /// Call this when a command is done that started at `started` with so many members: it returns
    /// when the next group is to be taken.
    pub async fn rest(&self, started: Instant, members: usize) {
        let formed_in = self.since_previous(started);
        let is_load = |formed_in: Duration| members as f64 >= LOAD_PER_S * formed_in.as_secs_f64();
        if members >= LOAD_MEMBERS && !self.every.is_zero() && formed_in.is_some_and(is_load) {
            sleep_until(started + self.every).await;
        }
    }

    fn since_previous(&self, started: Instant) -> Option<Duration> {
        let previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner).replace(started);
        Some(started.saturating_duration_since(previous?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(20);

    /// How long it rests after a group of `members` that started `since` after the one before.
    async fn rest_after(members: usize, since: Duration) -> Duration {
        let pace = Pace::new(EVERY);
        pace.rest(Instant::now(), members).await;
        tokio::time::advance(since).await;
        let started = Instant::now();
        pace.rest(started, members).await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_member_and_a_first_group_never_wait() {
        assert_eq!(rest_after(1, Duration::ZERO).await, Duration::ZERO);
        let started = Instant::now();
        Pace::new(EVERY).rest(started, 1000).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_took_long_to_form_shows_no_load() {
        assert_eq!(rest_after(20, Duration::from_millis(50)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn under_load_the_next_command_starts_when_its_time_has_come() {
        assert_eq!(rest_after(20, Duration::from_millis(5)).await, EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_took_longer_than_the_pace_is_followed_at_once() {
        let pace = Pace::new(EVERY);
        let started = Instant::now();
        pace.rest(started, 100).await;
        let next = Instant::now();
        tokio::time::advance(Duration::from_millis(30)).await;
        let done = Instant::now();
        pace.rest(next, 100).await;
        assert_eq!(done.elapsed(), Duration::ZERO);
    }
}
