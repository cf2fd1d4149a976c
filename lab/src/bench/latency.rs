//! Latencies and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Ten minutes, in microseconds; what takes longer counts as that.
const LONGEST: u64 = 600_000_000;

/// The latencies of one load.
pub(crate) struct Latencies(Histogram<u64>);

/// In milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latencies {
    /// Sorts them in; to three digits.
    pub(crate) fn of(latencies: impl Iterator<Item = Duration>) -> Self {
        let mut histogram = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds make sense");
        for latency in latencies {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
        Self(histogram)
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let millis = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        Percentiles {
            count: self.0.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(self.0.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let percentiles = Latencies::of((1..=1000).map(Duration::from_millis)).percentiles();
        let near = |shown: f64, right: f64| (shown - right).abs() <= right / 1000.0 + 0.001;
        assert!(
            near(percentiles.p50, 500.0) && near(percentiles.p99, 990.0) && near(percentiles.p999, 999.0),
            "{percentiles:?}"
        );
        assert!(near(percentiles.max, 1000.0), "{percentiles:?}");
        assert_eq!(percentiles.count, 1000);
    }

    #[test]
    fn of_nothing_there_is_nothing_to_tell() {
        assert_eq!(Latencies::of(std::iter::empty()).percentiles().count, 0);
    }
}
