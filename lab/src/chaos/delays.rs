//! The jobs of a chaos run whose time is to come, those that are to start in time, and what their clients change. A pure
//! function of the seed.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::mix::Script;

/// A job that is to run later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// In how many seconds.
    pub seconds: u32,
    /// What its client changes meanwhile, if anything.
    pub change: Option<Change>,
}

/// A change of a job whose time is to come; or has come, where it is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// How long after the creation it is asked for.
    pub after_ms: u64,
    /// In how many seconds from then on it is to run.
    pub seconds: u32,
    /// How urgent it is from then on.
    pub priority: &'static str,
}

impl Change {
    /// The request's body.
    pub fn body(self) -> Value {
        json!({ "delay_s": self.seconds, "priority": self.priority })
    }
}

/// Has some run later, and some start in a short time or not at all.
pub(super) fn delay(rng: &mut StdRng, scripts: &mut [Script]) {
    for script in scripts {
        if rng.random_bool(0.15) {
            let change = rng.random_bool(0.4).then(|| Change {
                // Half of them come at about the time that the job is due.
                after_ms: if rng.random_bool(0.5) { 1000 } else { rng.random_range(0..3000) },
                seconds: rng.random_range(0..3),
                priority: ["high", "normal", "low"][rng.random_range(0..3)],
            });
            script.delay = Some(Delay { seconds: rng.random_range(1..4), change });
        }
        if rng.random_bool(0.03) {
            script.start_within_s = Some(rng.random_range(1..4));
        }
    }
}
