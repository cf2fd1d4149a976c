//! The database's clock, so that all replicas of a service date things alike.
//!
//! It is read from the database and carried on by this machine's monotonic clock, so a wall clock that is set while
//! the process runs changes nothing. The wall clock is looked at once, at the start.
//!
//! Dates only decide how promptly things happen; that nothing is done twice rests on fences.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bson::DateTime;
use tokio::{sync::watch, time::Instant};

/// From how large a correction on the database's clock, or this machine's sleep, counts as a step.
const STEP: Duration = Duration::from_secs(1);

/// This process's idea of its database's clock. Copies share it.
#[derive(Debug, Clone)]
pub struct Clock(Arc<watch::Sender<Reading>>);

/// What the database's clock showed at a moment of the monotonic one.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// In microseconds since the Unix epoch.
    shown_us: i64,
    at: Instant,
    /// Whether the database was asked; else this is the machine's own wall clock.
    is_learnt: bool,
    stepped_at: Option<Instant>,
}

impl Default for Clock {
    /// Starts with this machine's wall clock.
    fn default() -> Self {
        Self::starting_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl Clock {
    /// A clock that shows so much time since the Unix epoch and goes on from there, until it is learnt.
    #[must_use]
    pub fn starting_at(since_epoch: Duration) -> Self {
        let reading =
            Reading { shown_us: micros(since_epoch), at: Instant::now(), is_learnt: false, stepped_at: None };
        Self(Arc::new(watch::Sender::new(reading)))
    }

    /// Now, by the database's clock, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.borrow().shows_us(Instant::now()).div_euclid(1000)
    }

    /// Now, by the database's clock.
    #[must_use]
    pub fn now(&self) -> DateTime {
        DateTime::from_millis(self.now_ms())
    }

    /// The moment `duration` from now.
    #[must_use]
    pub fn after(&self, duration: Duration) -> DateTime {
        DateTime::from_millis(self.now_ms() + millis(duration))
    }

    /// Whether the database's clock was ever read. Before that, nothing may be taken for overdue.
    #[must_use]
    pub fn is_learnt(&self) -> bool {
        self.0.borrow().is_learnt
    }

    /// Waits until the database's clock was read.
    pub async fn learnt(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|reading| reading.is_learnt).await;
    }

    /// How long ago this clock had to be corrected by more than a second, since the database's was set or this machine
    /// slept: others may not have learnt of it yet. None if it never was.
    #[must_use]
    pub fn since_step(&self) -> Option<Duration> {
        self.0.borrow().stepped_at.map(|at| at.elapsed())
    }

    /// Learns the time: the database said `its_time` while this process waited from `asked` until now.
    ///
    /// The clock is left alone where it shows what the wait allows: a slow answer tells little, and two processes of
    /// one machine must not come to differ. Else it is set to the earliest time that the wait allows: being behind by
    /// that much means taking over later, being ahead would mean earlier.
    pub fn learn(&self, asked: Instant, its_time: DateTime) {
        let now = Instant::now();
        // The database tells whole milliseconds, rounded down.
        let earliest_us = its_time.timestamp_millis().saturating_mul(1000);
        let latest_us = earliest_us.saturating_add(999).saturating_add(micros(now - asked));
        self.0.send_modify(|reading| {
            let shown_us = reading.shows_us(now);
            if !(earliest_us..=latest_us).contains(&shown_us) {
                if reading.is_learnt && shown_us.abs_diff(earliest_us) > STEP.as_micros() as u64 {
                    reading.stepped_at = Some(now);
                }
                (reading.shown_us, reading.at) = (earliest_us, now);
            }
            reading.is_learnt = true;
        });
    }
}

impl Reading {
    fn shows_us(&self, now: Instant) -> i64 {
        self.shown_us.saturating_add(micros(now.saturating_duration_since(self.at)))
    }
}

/// Whole milliseconds, as dates count them.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const START: Duration = Duration::from_secs(1_800_000_000);

    fn date(since_epoch: Duration) -> DateTime {
        DateTime::from_millis(millis(since_epoch))
    }

    /// Asks a database whose clock shows `its` half-way through a wait of this length.
    async fn ask(clock: &Clock, its: Duration, wait: Duration) {
        let asked = Instant::now();
        advance(wait).await;
        clock.learn(asked, date(its));
    }

    #[tokio::test(start_paused = true)]
    async fn it_shows_the_databases_time_however_wrong_the_wall_clock_is_at_the_start() {
        for wall in [START - HOUR, START, START + HOUR] {
            let clock = Clock::starting_at(wall);
            assert!(!clock.is_learnt());
            ask(&clock, START, Duration::from_millis(2)).await;
            clock.learnt().await;
            let behind_ms = millis(START) + 2 - clock.now_ms();
            assert!((0..=2).contains(&behind_ms), "{behind_ms} ms behind, started at {wall:?}");
            assert_eq!(clock.since_step(), None, "the first time is no step");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_by_the_monotonic_clock() {
        let clock = Clock::starting_at(START);
        advance(HOUR).await;
        assert_eq!(clock.now(), date(START + HOUR));
        assert_eq!(clock.after(HOUR), date(START + 2 * HOUR));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_that_the_wait_explains_changes_nothing() {
        let clock = Clock::starting_at(START);
        ask(&clock, START + Duration::from_secs(1), Duration::from_secs(8)).await;
        assert_eq!(clock.now(), date(START + Duration::from_secs(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_whose_clock_is_set_is_followed_and_the_step_told() {
        for its in [START + HOUR, START - HOUR] {
            let clock = Clock::starting_at(START);
            ask(&clock, START, Duration::ZERO).await;
            ask(&clock, its, Duration::ZERO).await;
            assert_eq!((clock.now(), clock.since_step()), (date(its), Some(Duration::ZERO)));
        }
    }

    proptest! {
        /// Whatever it showed before: after an answer it is ahead of the database by no more than the wait, and behind
        /// by no more than the wait and the millisecond that the database rounds off.
        #[test]
        fn an_answer_bounds_the_error_by_its_wait(
            wall_ms in 0..4_000_000_000_000_u64,
            its_us in 0..4_000_000_000_000_000_u64,
            before_us in 0..10_000_000_u64,
            after_us in 0..10_000_000_u64,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let clock = Clock::starting_at(Duration::from_millis(wall_ms));
                let asked = Instant::now();
                advance(Duration::from_micros(before_us + after_us)).await;
                clock.learn(asked, date(Duration::from_micros(its_us)));
                let truth_ms = i64::try_from((its_us + after_us) / 1000).unwrap();
                let wait_ms = i64::try_from((before_us + after_us) / 1000).unwrap();
                let error_ms = clock.now_ms() - truth_ms;
                assert!((-wait_ms - 2..=wait_ms + 2).contains(&error_ms), "{error_ms} after {wait_ms}");
            });
        }
    }
}
