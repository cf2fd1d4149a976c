//! The plan of a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::{Fault, Link, Plan, Size, Stream, Target, Timed};

/// The pause between two faults, on average.
const MEAN_PAUSE: Duration = Duration::from_millis(1500);

impl Plan {
    /// The plan of this seed: a kill for each 50 jobs, a pause past the lease, and a cut or stall, for each 200,
    /// a set-back for each 2,000; a single stream lost, and one full, for each 500.
    pub fn new(seed: u64, size: Size) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let mut faults = Vec::new();
        faults.extend((0..(size.jobs / 50).max(12)).map(|_| Fault::Kill(any_target(rng, size), down(rng))));
        for _ in 0..(size.jobs / 200).max(3) {
            let past = size.lease.mul_f64(rng.random_range(1.1..2.0));
            faults.push(Fault::Pause(Target::Worker(rng.random_range(0..size.workers)), past));
        }
        faults.extend(
            (0..size.jobs / 1000).map(|_| Fault::Pause(any_target(rng, size), millis(rng, 500..6000))),
        );
        faults.extend((0..(size.jobs / 200).max(4)).map(|_| cut(rng, size)));
        faults.extend(
            (0..(size.jobs / 500).max(2)).map(|_| Fault::Fill(any_stream(rng), millis(rng, 500..4000))),
        );
        faults.extend((0..(size.jobs / 1000).max(1)).map(|_| match rng.random_bool(0.5) {
            true => Fault::Delete(any_stream(rng)),
            false => Fault::Wipe(any_stream(rng), down(rng)),
        }));
        if size.clock_steps {
            faults.extend((0..(size.jobs / 100).max(4)).map(|_| Fault::StepClock(any_offset(rng))));
        }
        faults.shuffle(rng);
        for _ in 0..(size.jobs / 2000).max(1) {
            let at = rng.random_range(0..faults.len());
            faults.insert(at, Fault::Copy);
            let later = (at + rng.random_range(2..12)).min(faults.len());
            faults.insert(later, Fault::SetBack(down(rng)));
        }
        let copied = faults.iter().position(|fault| *fault == Fault::Copy).map_or(0, |at| at + 1);
        for _ in 0..(size.jobs / 1000).max(1) {
            let later = rng.random_range(copied..=faults.len());
            faults.insert(later, Fault::SetBackOne(any_stream(rng), down(rng)));
        }
        let mut at = MEAN_PAUSE;
        let timed = faults.into_iter().map(|fault| {
            at += MEAN_PAUSE.mul_f64(rng.random_range(0.2..1.8));
            Timed { at, fault }
        });
        let faults = timed.collect();
        Self { faults, length: at + MEAN_PAUSE }
    }

    /// No faults, for as long as a plan with them would take.
    pub fn without_faults(size: Size) -> Self {
        Self { faults: Vec::new(), length: Plan::new(0, size).length }
    }

    /// How many jobs take about this long.
    pub fn jobs_in(length: Duration) -> usize {
        let size = |jobs| Size {
            jobs,
            apis: 1,
            workers: 1,
            lease: Duration::from_secs(3),
            replica_sets: false,
            clock_steps: false,
        };
        let each = Self::new(0, size(10_000)).length / 10_000;
        (length.as_secs_f64() / each.as_secs_f64()).ceil() as usize
    }
}

fn any_target(rng: &mut StdRng, size: Size) -> Target {
    match rng.random_range(0..100) {
        0..40 => Target::Worker(rng.random_range(0..size.workers)),
        40..65 => Target::Api(rng.random_range(0..size.apis)),
        65..80 => Target::Nats,
        80..90 => Target::ApiMongo,
        _ => Target::JobMongo,
    }
}

fn any_stream(rng: &mut StdRng) -> Stream {
    Stream::ALL[rng.random_range(0..Stream::ALL.len())]
}

/// An hour or some seconds, ahead or behind, or none.
fn any_offset(rng: &mut StdRng) -> i64 {
    [-3600, -20, 0, 20, 3600][rng.random_range(0..5)]
}

fn cut(rng: &mut StdRng, size: Size) -> Fault {
    let link = [Link::Nats, Link::ApiMongo, Link::JobMongo][rng.random_range(0..3)];
    if size.replica_sets {
        // A driver finds out the members' own addresses, so nothing can stand between.
        match link {
            Link::Nats => {}
            Link::ApiMongo => return Fault::Kill(Target::ApiMongo, down(rng)),
            Link::JobMongo => return Fault::Kill(Target::JobMongo, down(rng)),
        }
    }
    match rng.random_range(0..100) {
        0..25 => Fault::Cut(link),
        25..60 => Fault::CutBeforeReply(link, rng.random_range(1..6)),
        60..85 => Fault::Stall(link, millis(rng, 500..8000)),
        _ => Fault::BlackHole(link, millis(rng, 2000..8000)),
    }
}

fn down(rng: &mut StdRng) -> Duration {
    let long = rng.random_bool(0.2);
    millis(rng, if long { 1500..5000 } else { 0..1000 })
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(jobs: usize) -> Size {
        let lease = Duration::from_secs(3);
        Size { jobs, apis: 2, workers: 3, lease, replica_sets: false, clock_steps: false }
    }

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        assert_eq!(Plan::new(7, size(500)), Plan::new(7, size(500)));
        assert_ne!(Plan::new(7, size(500)), Plan::new(8, size(500)));
    }

    #[test]
    fn on_replica_sets_primaries_are_killed_instead_of_connections_cut() {
        let plan = Plan::new(1, Size { replica_sets: true, ..size(1000) });
        let is_cut = |fault: &Fault| matches!(fault, Fault::Cut(link) | Fault::CutBeforeReply(link, _) | Fault::Stall(link, _) | Fault::BlackHole(link, _) if *link != Link::Nats);
        assert!(!plan.faults.iter().any(|timed| is_cut(&timed.fault)));
        for target in [Target::ApiMongo, Target::JobMongo] {
            assert!(
                plan.faults.iter().any(|timed| matches!(timed.fault, Fault::Kill(of, _) if of == target))
            );
        }
    }

    #[test]
    fn the_first_workers_clock_is_stepped_where_that_is_asked_for() {
        let steps = |clock_steps| {
            let plan = Plan::new(1, Size { clock_steps, ..size(1000) });
            plan.faults.iter().filter(|timed| matches!(timed.fault, Fault::StepClock(_))).count()
        };
        assert_eq!((steps(false), steps(true)), (0, 10));
    }

    #[test]
    fn ten_thousand_jobs_get_what_the_promises_are_to_be_shown_under() {
        let plan = Plan::new(1, size(10_000));
        let count =
            |which: fn(&Fault) -> bool| plan.faults.iter().filter(|timed| which(&timed.fault)).count();
        assert!(count(|fault| matches!(fault, Fault::Kill(..))) >= 200);
        let past_the_lease = |fault: &Fault| matches!(fault, Fault::Pause(Target::Worker(_), pause) if *pause > Duration::from_secs(3));
        assert!(count(past_the_lease) >= 50);
        let link = |fault: &Fault| {
            matches!(
                fault,
                Fault::Cut(_) | Fault::CutBeforeReply(..) | Fault::Stall(..) | Fault::BlackHole(..)
            )
        };
        assert!(count(link) >= 50);
        assert_eq!(count(|fault| matches!(fault, Fault::SetBack(_))), 5);
        for stream in Stream::ALL {
            let lost = |timed: &&Timed| matches!(timed.fault, Fault::Delete(of) | Fault::Wipe(of, _) | Fault::SetBackOne(of, _) if of == stream);
            let full = |timed: &&Timed| matches!(timed.fault, Fault::Fill(of, _) if of == stream);
            assert!(plan.faults.iter().filter(lost).count() >= 3, "{stream:?}");
            assert!(plan.faults.iter().filter(full).count() >= 3, "{stream:?}");
        }
    }
}
