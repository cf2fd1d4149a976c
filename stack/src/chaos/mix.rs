//! The jobs of a chaos run: what each is to do, and what its client does with it. A pure function of the seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};

/// What an attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Has its effect and is done.
    Done,
    /// Fails, and may go better next time.
    Retry,
    /// Fails for good.
    Fail,
    /// Panics.
    Panic,
    /// Kills its process.
    Abort,
    /// Never ends, over its time.
    Hang,
}

/// One job and its client.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its number, from 0; stands in its payload.
    pub tag: usize,
    /// What each attempt does; the last stands for all later ones.
    pub acts: Vec<Act>,
    /// How long an attempt takes before its act, and after its effect.
    pub pause_s: f64,
    /// See `pause_s`.
    pub linger_s: f64,
    /// How long it may take.
    pub timeout_s: u32,
    /// How many attempts may be charged.
    pub max_attempts: u32,
    /// How urgent it is.
    pub priority: &'static str,
    /// Whether the client sends an `Idempotency-Key`, and therefore again until it has an answer.
    pub keyed: bool,
    /// How long after its creation the client cancels it, if it does.
    pub cancel_after_ms: Option<u64>,
    /// How often the client starts a next run after an end.
    pub retries: u32,
}

impl Script {
    /// What attempt `number` does.
    pub fn act(&self, number: u32) -> Act {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        self.acts.get(index).or(self.acts.last()).copied().unwrap_or(Act::Done)
    }

    /// The request's body.
    pub fn body(&self) -> Value {
        let payload = json!({ "tag": self.tag, "attempts": self.acts, "pause_s": self.pause_s, "linger_s": self.linger_s });
        json!({
            "kind": "fault", "payload": payload, "timeout_s": self.timeout_s,
            "max_attempts": self.max_attempts, "priority": self.priority,
        })
    }
}

/// The scripts of a run.
pub fn scripts(seed: u64, jobs: usize) -> Vec<Script> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(0x6d69_7800));
    (0..jobs).map(|tag| script(&mut rng, tag)).collect()
}

fn script(rng: &mut StdRng, tag: usize) -> Script {
    let mut script = Script {
        tag,
        acts: vec![Act::Done],
        pause_s: 0.0,
        linger_s: 0.0,
        timeout_s: 46,
        max_attempts: 5,
        priority: ["high", "normal", "low"][rng.random_range(0..3)],
        keyed: rng.random_bool(0.7),
        cancel_after_ms: rng.random_bool(0.12).then(|| rng.random_range(0..2000)),
        retries: if rng.random_bool(0.08) { rng.random_range(1..3) } else { 0 },
    };
    // Out of a thousand.
    match rng.random_range(0..1000) {
        0..500 => {}
        500..620 => script.pause_s = rng.random_range(0.05..2.0),
        620..650 => script.pause_s = rng.random_range(3.0..7.0),
        650..730 => script.linger_s = rng.random_range(0.05..3.0),
        730..830 => {
            script.acts = vec![Act::Retry; rng.random_range(1..4)].into_iter().chain([Act::Done]).collect();
        }
        830..880 => script.acts = vec![Act::Fail],
        880..910 => (script.acts, script.max_attempts) = (vec![Act::Retry], 2),
        910..935 => (script.acts, script.max_attempts) = (vec![Act::Panic], 2),
        935..960 => script.acts = vec![Act::Panic, Act::Done],
        960..990 => (script.acts, script.timeout_s) = (vec![Act::Hang], 2),
        990..996 => script.acts = vec![Act::Abort, Act::Done],
        _ => (script.acts, script.max_attempts) = (vec![Act::Abort], 3),
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_a_function_of_its_seed_and_has_everything_in_it() {
        let mix = scripts(3, 3000);
        assert_eq!(mix, scripts(3, 3000));
        for act in [Act::Done, Act::Retry, Act::Fail, Act::Panic, Act::Abort, Act::Hang] {
            assert!(mix.iter().any(|script| script.acts[0] == act), "{act:?}");
        }
        assert!(mix.iter().any(|script| script.cancel_after_ms.is_some() && script.retries > 0));
    }

    #[test]
    fn the_last_act_stands_for_all_later_attempts() {
        let mut script = scripts(3, 1).remove(0);
        script.acts = vec![Act::Retry, Act::Done];
        assert_eq!([1, 2, 9].map(|number| script.act(number)), [Act::Retry, Act::Done, Act::Done]);
    }
}
