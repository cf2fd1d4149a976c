//! How long a job waits between its attempts, where it says so itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest pause after the first failure, how it grows with each further one, and where that ends. Of the longest
/// pause full jitter takes a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetryPauses {
    /// The longest pause after the first failure, in seconds; 0.001 to 86,400.
    pub base_s: f64,
    /// The longest pause of all, in seconds; from `base_s` to 604,800.
    pub max_s: f64,
    /// What each further failure multiplies it with; 1 to 10.
    pub factor: f64,
}

impl RetryPauses {
    /// What is meant by a field that is not given.
    pub const DEFAULT: Self = Self { base_s: 1.0, max_s: 600.0, factor: 2.0 };
    /// The longest pause that may be asked for, in seconds: a week.
    pub const MAX_S: u32 = 604_800;

    /// The longest pause after so many failures before the latest one.
    #[must_use]
    pub fn longest(self, failures: u32) -> Duration {
        let power = i32::try_from(failures).unwrap_or(i32::MAX);
        let seconds = (self.base_s * self.factor.powi(power)).min(self.max_s);
        // What somebody else has written may be no time at all.
        Duration::try_from_secs_f64(seconds.min(f64::from(Self::MAX_S))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_grow_by_their_factor_up_to_the_longest() {
        let pauses = RetryPauses { base_s: 0.5, max_s: 10.0, factor: 3.0 };
        let seconds: Vec<f64> = (0..5).map(|failures| pauses.longest(failures).as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.5, 4.5, 10.0, 10.0]);
        let steady = RetryPauses { base_s: 7.0, max_s: 7.0, factor: 1.0 };
        assert_eq!(steady.longest(99), Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic_or_wait_for_ever(base_s: f64, max_s: f64, factor: f64, failures: u32) {
            let pause = RetryPauses { base_s, max_s, factor }.longest(failures);
            prop_assert!(pause <= Duration::from_secs(RetryPauses::MAX_S.into()));
        }
    }
}
