//! The schedules of a chaos run: when each is due, and when its client has it fire by hand. A pure function of the seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// What a schedule does where an earlier job of it has not ended.
pub const OVERLAPS: [&str; 4] = ["allow", "skip", "queue_one", "cancel_previous"];

/// One schedule and its client.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its number, from 0.
    pub number: usize,
    /// Every so many seconds it is due, from its start to its end.
    pub every_s: u32,
    /// One of [`OVERLAPS`].
    pub overlap: &'static str,
    /// How long its jobs take.
    pub pause_s: f64,
    /// When its client has it fire by hand, as parts of the run's length.
    pub triggers: Vec<f64>,
}

impl Schedule {
    /// What it is called.
    pub fn id(&self) -> String {
        format!("chaos-{}", self.number)
    }

    /// The request's body; it is due from one moment to another, both in RFC 3339.
    pub fn body(&self, starts_at: &str, ends_at: &str) -> Value {
        json!({
            "every_s": self.every_s, "starts_at": starts_at, "ends_at": ends_at, "overlap": self.overlap,
            // Nothing is missed, however long it takes.
            "catch_up_s": 86_400,
            "template": {
                "kind": "fault", "queue": "bulk", "max_attempts": 20,
                "payload": { "attempts": ["done"], "pause_s": self.pause_s },
            },
        })
    }
}

/// The schedules of a run with so many jobs, some for each way of overlapping.
pub fn schedules(seed: u64, jobs: usize) -> Vec<Schedule> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(0x7363_6865));
    let count = (jobs / 250).clamp(OVERLAPS.len(), 20);
    (0..count)
        .map(|number| Schedule {
            number,
            every_s: rng.random_range(1..4),
            overlap: OVERLAPS[number % OVERLAPS.len()],
            pause_s: rng.random_range(0.0..2.5),
            triggers: (0..rng.random_range(0..4)).map(|_| rng.random_range(0.05..1.0)).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_a_function_of_the_seed_and_overlap_in_all_ways() {
        let some = schedules(3, 1000);
        assert_eq!(some, schedules(3, 1000));
        assert!(OVERLAPS.iter().all(|overlap| some.iter().any(|one| one.overlap == *overlap)));
        assert!(schedules(3, 5000).iter().any(|one| one.triggers.len() > 1));
    }
}
