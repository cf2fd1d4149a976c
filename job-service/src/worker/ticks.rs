//! The ticks of a worker that rests between them.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use croner::Cron;
use shared_events::Timestamp;
use tokio_util::sync::CancellationToken;

/// The longest that is slept at a time: the machine's clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(30);

/// Points in time by a cron expression of five fields, or of six, the first of which are seconds; in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticks(Cron);

/// The text says no points in time that are still to come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTicks {
    /// It is no cron expression.
    #[error("must be a cron expression of five fields, or of six with seconds first: {0}")]
    Syntax(String),
    /// Such as 30 February.
    #[error("must be a cron expression that comes to pass; this one never does")]
    Never,
}

impl Ticks {
    /// The first tick after `time`; none where there is none any more.
    #[must_use]
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = DateTime::<Utc>::from_timestamp_millis(time.millis())?;
        let next = self.0.find_next_occurrence(&time, false).ok()?;
        Some(Timestamp::from_millis(next.timestamp_millis()))
    }

    /// Waits for the first tick after now, by this machine's clock; for ever where there is none any more.
    pub(crate) async fn next(&self, stop: &CancellationToken) {
        let Some(mut tick) = self.after(Timestamp::now()) else { return stop.cancelled().await };
        loop {
            // Where the clock was set back meanwhile, a tick is nearer than the one that was waited for.
            tick = self.after(Timestamp::now()).map_or(tick, |next| tick.min(next));
            let left = tick.since(Timestamp::now());
            if left.is_zero() || stop.run_until_cancelled(tokio::time::sleep(left.min(NAP))).await.is_none() {
                return;
            }
        }
    }
}

impl FromStr for Ticks {
    type Err = BadTicks;

    fn from_str(text: &str) -> Result<Self, BadTicks> {
        let cron = Cron::from_str(text).map_err(|error| BadTicks::Syntax(error.to_string()))?;
        let ticks = Self(cron);
        if ticks.after(Timestamp::now()).is_none() {
            return Err(BadTicks::Never);
        }
        Ok(ticks)
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(expression: &str, time: &str) -> String {
        let ticks: Ticks = expression.parse().unwrap();
        ticks.after(time.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_next_tick_is_after_now_in_utc() {
        for (expression, time, next) in [
            ("*/10 * * * * *", "2026-11-27T13:59:41.500Z", "2026-11-27T13:59:50.000Z"),
            ("*/10 * * * * *", "2026-11-27T13:59:50.000Z", "2026-11-27T14:00:00.000Z"),
            ("*/5 * * * *", "2026-11-27T13:59:50.000Z", "2026-11-27T14:00:00.000Z"),
            ("0 30 4 * * MON-FRI", "2026-11-27T13:00:00.000Z", "2026-11-30T04:30:00.000Z"),
            ("@daily", "2026-12-31T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(after(expression, time), next, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_or_never_comes_is_refused() {
        for text in ["", "often", "* * * *", "61 * * * * *", "*/0 * * * * *", "* * * * * * * *"] {
            assert!(matches!(text.parse::<Ticks>(), Err(BadTicks::Syntax(_))), "{text}");
        }
        for text in ["0 0 0 30 2 *", "0 0 0 1 1 * 2001"] {
            assert_eq!(text.parse::<Ticks>(), Err(BadTicks::Never), "{text}");
        }
    }
}
