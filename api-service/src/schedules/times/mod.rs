//! At which times a schedule is due. Pure: nothing here knows a database, or the time of day.
//!
//! What a clock change means is decided here (`walk.rs`), by the zone's own rules. An expression that has neither wildcard
//! nor step in hour and minute names fixed times: one that the change skips comes at the first moment after it, one that
//! it repeats comes once. Any other follows real time: what is skipped does not come, what is repeated comes again.
//!
//! The rules of all zones are part of the executable, so that replicas of one version agree on them.

mod expression;
mod walk;
mod zone;

pub use expression::{BadExpression, Expression};
pub use zone::{BadZone, Zone};

use shared_events::Timestamp;

/// How far ahead is looked for the next time, in years: 29 February of a given weekday may be forty years off.
const HORIZON_YEARS: i64 = 60;

/// [`HORIZON_YEARS`] in milliseconds.
const HORIZON_MS: i64 = HORIZON_YEARS * 366 * 86_400_000;

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// By a cron expression, on the clocks of a zone.
    Cron {
        /// Which times of day.
        expression: Expression,
        /// Whose clocks.
        zone: Zone,
    },
    /// Every so many seconds.
    Every {
        /// How many, at least 1.
        seconds: u32,
        /// Counted from here; the first time is that much later, unless the schedule says when it starts.
        from: Timestamp,
    },
    /// Once.
    At(Timestamp),
}

impl Timing {
    /// The first time after `after`; none where there is none within sixty years.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { expression, zone } => walk::next(expression, zone, after),
            Self::Every { seconds, from } => every(i64::from(*seconds) * 1000, *from, after),
            Self::At(time) => (*time > after).then_some(*time),
        }
    }
}

fn every(step: i64, from: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let passed = after.millis().checked_sub(from.millis())?;
    let steps = if passed < 0 { 0 } else { passed.div_euclid(step) + 1 };
    steps.checked_mul(step)?.checked_add(from.millis()).map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wall_clock;
