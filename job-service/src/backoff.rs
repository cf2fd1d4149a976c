//! How long to wait before a failed run is tried again.

use std::time::Duration;

/// A random pause of at most `base` × 2ⁿ, itself at most `most`, after the n-th failure (from 0):
/// exponential back-off with full jitter.
#[must_use]
pub fn pause(base: Duration, failures: u32, most: Duration) -> Duration {
    ceiling(base, failures, most).mul_f64(rand::random_range(0.0..=1.0))
}

fn ceiling(base: Duration, failures: u32, most: Duration) -> Duration {
    let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(600);

    proptest! {
        #[test]
        fn stays_between_nothing_and_its_ceiling(failures: u32) {
            let pause = pause(BASE, failures, MOST);
            prop_assert!(pause <= ceiling(BASE, failures, MOST));
        }
    }

    #[test]
    fn doubles_up_to_ten_minutes() {
        let seconds: Vec<u64> = (0..12).map(|failures| ceiling(BASE, failures, MOST).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }
}
