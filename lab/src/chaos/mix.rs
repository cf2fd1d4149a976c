//! The jobs of a chaos run: what each is to do, and what its client does with it. A pure function of the seed.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    delays::{self, Delay},
    programs,
};

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

/// The queues that jobs are sent to.
pub const QUEUES: [&str; 3] = ["default", "bulk", SWEPT];

/// The queue whose jobs are cancelled and retried by filter, by clients other than those that created them.
pub const SWEPT: &str = "swept";

/// The bytes of a large payload or result: as much as is allowed, but for the rest of the payload.
const LARGE: Range<usize> = 100 << 10..500 << 10;

/// A request that acts on all jobs of [`SWEPT`] that it can act on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    /// When, as a part of the run's length.
    pub at: f64,
    /// What it asks for.
    pub action: Action,
}

/// What a sweep asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To cancel what has not ended.
    Cancel,
    /// To run again what failed or was cancelled.
    Retry,
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
    /// Where it is sent, one of [`QUEUES`].
    pub queue: &'static str,
    /// How urgent it is.
    pub priority: &'static str,
    /// Which of the objects it is about, if any; each has one job at the most.
    pub object: Option<usize>,
    /// Which batch it is created in, if in any; its members follow one another.
    pub batch: Option<usize>,
    /// Whether the client sends an `Idempotency-Key`, and therefore again until it has an answer.
    pub keyed: bool,
    /// How long after its creation the client cancels it, if it does.
    pub cancel_after_ms: Option<u64>,
    /// How often the client starts a next run after an end.
    pub retries: u32,
    /// Whether the client deletes it in the end.
    pub deletes: bool,
    /// How much more than it needs its payload has, in bytes.
    pub filling: usize,
    /// How large its result is, in bytes, where that is to be more than a few.
    pub result_bytes: Option<usize>,
    /// Whether it is to run later.
    pub delay: Option<Delay>,
    /// Within how long it is to start, if that is asked for.
    pub start_within_s: Option<u32>,
    /// Whether it is a program of the worker's machine; else the handler `fault` does what it is to do.
    pub is_program: bool,
}

impl Script {
    /// What attempt `number` does.
    pub fn act(&self, number: u32) -> Act {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        self.acts.get(index).or(self.acts.last()).copied().unwrap_or(Act::Done)
    }

    /// The request's body; what programs leave is in `folder`.
    pub fn body(&self, folder: &str) -> Value {
        let (kind, payload) = match self.is_program {
            true => ("command", programs::payload(self, folder)),
            false => ("fault", self.payload()),
        };
        let mut body = json!({
            "kind": kind, "payload": payload, "timeout_s": self.timeout_s,
            "max_attempts": self.max_attempts, "queue": self.queue, "priority": self.priority,
        });
        if let Some(object) = self.object {
            body["object_id"] = format!("object-{object}").into();
        }
        if let Some(Delay { seconds, .. }) = self.delay {
            body["delay_s"] = seconds.into();
        }
        if let Some(seconds) = self.start_within_s {
            body["start_within_s"] = seconds.into();
        }
        body
    }

    fn payload(&self) -> Value {
        let mut payload = json!({ "tag": self.tag, "attempts": self.acts, "pause_s": self.pause_s, "linger_s": self.linger_s });
        if self.filling > 0 {
            payload["filling"] = "x".repeat(self.filling).into();
        }
        if let Some(bytes) = self.result_bytes {
            payload["result_bytes"] = bytes.into();
        }
        payload
    }

    /// Whether others act on it too.
    pub fn is_swept(&self) -> bool {
        self.queue == SWEPT
    }
}

/// The scripts of a run.
pub fn scripts(seed: u64, jobs: usize) -> Vec<Script> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(0x6d69_7800));
    let mut scripts: Vec<Script> = (0..jobs).map(|tag| script(&mut rng, tag)).collect();
    batch(&mut rng, &mut scripts);
    enlarge(&mut rng, &mut scripts);
    delays::delay(&mut rng, &mut scripts);
    programs::make_programs(&mut rng, &mut scripts);
    scripts
}

/// The sweeps of a run, in the order of their times.
pub fn sweeps(seed: u64, jobs: usize) -> Vec<Sweep> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(0x7377_6570));
    let action = |cancel| if cancel { Action::Cancel } else { Action::Retry };
    let count = (jobs / 100).max(4);
    let mut sweeps: Vec<Sweep> = (0..count)
        .map(|_| Sweep { at: rng.random_range(0.1..1.0), action: action(rng.random_bool(0.5)) })
        .collect();
    sweeps.sort_by(|one, other| one.at.total_cmp(&other.at));
    sweeps
}

/// Has some that follow one another created together.
fn batch(rng: &mut StdRng, scripts: &mut [Script]) {
    let (mut left, mut number) = (0, 0);
    for script in scripts {
        if left == 0 && rng.random_bool(0.02) {
            (left, number) = (rng.random_range(2..16), number + 1);
        }
        if left > 0 {
            left -= 1;
            // A batch is asked for once: its members have no keys.
            (script.batch, script.keyed) = (Some(number), false);
        }
    }
}

/// Gives some a large payload, and some a large result.
fn enlarge(rng: &mut StdRng, scripts: &mut [Script]) {
    // A batch has a limit of its own.
    for script in scripts.iter_mut().filter(|script| script.batch.is_none()) {
        if rng.random_bool(0.01) {
            script.filling = rng.random_range(LARGE);
        }
        if rng.random_bool(0.01) {
            script.result_bytes = Some(rng.random_range(LARGE));
        }
    }
}

fn script(rng: &mut StdRng, tag: usize) -> Script {
    let mut script = Script {
        tag,
        acts: vec![Act::Done],
        pause_s: 0.0,
        linger_s: 0.0,
        timeout_s: 46,
        max_attempts: 5,
        queue: QUEUES[0],
        priority: ["high", "normal", "low"][rng.random_range(0..3)],
        object: None,
        batch: None,
        keyed: rng.random_bool(0.7),
        cancel_after_ms: rng.random_bool(0.12).then(|| rng.random_range(0..2000)),
        retries: if rng.random_bool(0.08) { rng.random_range(1..3) } else { 0 },
        deletes: false,
        filling: 0,
        result_bytes: None,
        delay: None,
        start_within_s: None,
        is_program: false,
    };
    match rng.random_range(0..100) {
        0..70 => {}
        70..88 => script.queue = QUEUES[1],
        _ => script.queue = SWEPT,
    }
    match rng.random_range(0..100) {
        // About one in three is refused: there are fewer objects than jobs for them.
        0..6 => script.object = Some(rng.random_range(0..=tag / 20)),
        6..18 => script.deletes = true,
        _ => {}
    }
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
        assert!(QUEUES.iter().all(|queue| mix.iter().any(|script| script.queue == *queue)));
        assert!(mix.iter().any(|script| script.deletes) && mix.iter().any(|script| script.object.is_some()));
        assert!(
            mix.iter().any(|script| script.filling > 0 && script.body("/").to_string().len() < 512 << 10)
        );
        assert!(mix.iter().any(|script| script.result_bytes.is_some()));
        assert!(mix.iter().any(|script| script.start_within_s.is_some()));
        let programs = || mix.iter().filter(|script| script.is_program);
        assert!(
            [Act::Done, Act::Retry, Act::Hang].iter().all(|act| programs().any(|one| one.acts[0] == *act))
        );
        let delayed = || mix.iter().filter_map(|script| Some((script, script.delay?)));
        assert!(delayed().any(|(script, _)| script.cancel_after_ms.is_some()));
        assert!(delayed().any(|(_, delay)| delay.change.is_some()));
        assert!(mix.windows(2).any(|two| two[0].batch.is_some() && two[0].batch == two[1].batch));
    }

    #[test]
    fn sweeps_are_a_function_of_the_seed_and_ask_for_both() {
        assert_eq!(sweeps(3, 1000), sweeps(3, 1000));
        assert!(
            [Action::Cancel, Action::Retry]
                .iter()
                .all(|action| sweeps(3, 1000).iter().any(|one| one.action == *action))
        );
    }

    #[test]
    fn the_last_act_stands_for_all_later_attempts() {
        let mut script = scripts(3, 1).remove(0);
        script.acts = vec![Act::Retry, Act::Done];
        assert_eq!([1, 2, 9].map(|number| script.act(number)), [Act::Retry, Act::Done, Act::Done]);
    }
}
