//! How many jobs have ended in the last minutes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::AddAssign,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared_events::{Queue, Status};
use tokio::time::Instant;

/// How far back it is known.
pub const WINDOW: Duration = Duration::from_secs(300);

/// What is counted together.
const SLICE: Duration = Duration::from_secs(5);

/// Over how many slices a rate is taken.
const RATE_SLICES: u32 = 2;

/// How many queues are told apart within a slice: clients choose their names.
const MOST_QUEUES: usize = 1000;

/// How many jobs have ended, by how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// They are done.
    pub finished: u64,
    /// They failed for good.
    pub failed: u64,
    /// They were cancelled.
    pub cancelled: u64,
}

impl Ended {
    /// One that ended so; none where the state is no end.
    #[must_use]
    pub const fn one(status: Status) -> Option<Self> {
        let none = Self { finished: 0, failed: 0, cancelled: 0 };
        match status {
            Status::Finished => Some(Self { finished: 1, ..none }),
            Status::Failed => Some(Self { failed: 1, ..none }),
            Status::Cancelled => Some(Self { cancelled: 1, ..none }),
            Status::Scheduled | Status::Queued | Status::Running => None,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.finished + self.failed + self.cancelled
    }
}

impl AddAssign for Ended {
    fn add_assign(&mut self, more: Self) {
        self.finished += more.finished;
        self.failed += more.failed;
        self.cancelled += more.cancelled;
    }
}

/// The counts of all replicas, since this one knows them. Copies share them.
#[derive(Debug, Clone)]
pub struct EndedCounts(Arc<Mutex<Window>>);

#[derive(Debug)]
struct Window {
    started: Instant,
    /// The latest last.
    slices: VecDeque<Slice>,
    /// What this replica has counted and not told the others yet.
    untold: HashMap<Queue, Ended>,
}

#[derive(Debug)]
struct Slice {
    /// How many slices after the start.
    number: u64,
    all: Ended,
    queues: HashMap<Queue, Ended>,
}

impl Default for EndedCounts {
    fn default() -> Self {
        let window = Window { started: Instant::now(), slices: VecDeque::new(), untold: HashMap::new() };
        Self(Arc::new(Mutex::new(window)))
    }
}

impl EndedCounts {
    /// This replica has learnt of an end.
    pub fn add(&self, queue: &Queue, ended: Ended) {
        self.with(|window| {
            window.add(queue, ended);
            add_to(&mut window.untold, queue, ended);
        });
    }

    /// Another replica has told of these.
    pub(super) fn add_told(&self, told: impl IntoIterator<Item = (Queue, Ended)>) {
        self.with(|window| told.into_iter().for_each(|(queue, ended)| window.add(&queue, ended)));
    }

    /// What the others have not been told yet.
    pub(super) fn take_untold(&self) -> HashMap<Queue, Ended> {
        self.with(|window| std::mem::take(&mut window.untold))
    }

    /// Those of a queue within the last minutes.
    #[must_use]
    pub fn of(&self, queue: &Queue) -> Ended {
        self.sum(|slice| slice.queues.get(queue).copied().unwrap_or_default())
    }

    /// Those of all queues within the last minutes.
    #[must_use]
    pub fn all(&self) -> Ended {
        self.sum(|slice| slice.all)
    }

    /// The queues of which a job has ended within the last minutes.
    #[must_use]
    pub fn queues(&self) -> HashSet<Queue> {
        self.with(|window| window.recent().flat_map(|slice| slice.queues.keys().cloned()).collect())
    }

    /// For how long it is known: five minutes, less where the replica started since.
    #[must_use]
    pub fn known_for(&self) -> Duration {
        self.with(|window| {
            let slices = window.now() - window.first();
            let into_slice = window.started.elapsed().as_nanos() % SLICE.as_nanos();
            SLICE * u32::try_from(slices).unwrap_or(0)
                + Duration::from_nanos(u64::try_from(into_slice).unwrap_or(0))
        })
    }

    /// How many have ended a second, over the last ten that are complete.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        self.with(|window| {
            let now = window.now();
            let slices = u64::from(RATE_SLICES).min(now);
            let counted = window.slices.iter().filter(|slice| (now - slices..now).contains(&slice.number));
            let ended: u64 = counted.map(|slice| slice.all.all()).sum();
            if slices == 0 { 0.0 } else { ended as f64 / (slices as f64 * SLICE.as_secs_f64()) }
        })
    }

    fn sum(&self, part: impl Fn(&Slice) -> Ended) -> Ended {
        self.with(|window| {
            let mut sum = Ended::default();
            window.recent().for_each(|slice| sum += part(slice));
            sum
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Window) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Window {
    /// The number of the slice that is being filled.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos() / SLICE.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of the first slice that counts.
    fn first(&self) -> u64 {
        self.now().saturating_sub((WINDOW.as_secs() / SLICE.as_secs()) - 1)
    }

    fn recent(&self) -> impl Iterator<Item = &Slice> {
        let first = self.first();
        self.slices.iter().filter(move |slice| slice.number >= first)
    }

    fn add(&mut self, queue: &Queue, ended: Ended) {
        let (now, first) = (self.now(), self.first());
        while self.slices.front().is_some_and(|slice| slice.number < first) {
            self.slices.pop_front();
        }
        if self.slices.back().is_none_or(|slice| slice.number != now) {
            self.slices.push_back(Slice { number: now, all: Ended::default(), queues: HashMap::new() });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.all += ended;
            add_to(&mut slice.queues, queue, ended);
        }
    }
}

fn add_to(queues: &mut HashMap<Queue, Ended>, queue: &Queue, ended: Ended) {
    if let Some(known) = queues.get_mut(queue) {
        *known += ended;
    } else if queues.len() < MOST_QUEUES {
        queues.insert(queue.clone(), ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINISHED: Ended = Ended { finished: 1, failed: 0, cancelled: 0 };

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_counts_for_five_minutes() {
        let (counts, queue) = (EndedCounts::default(), Queue::default());
        counts.add(&queue, FINISHED);
        tokio::time::advance(Duration::from_secs(100)).await;
        counts.add(&queue, Ended::one(Status::Failed).unwrap());
        assert_eq!(counts.of(&queue), Ended { finished: 1, failed: 1, cancelled: 0 });
        assert_eq!(counts.known_for(), Duration::from_secs(100));
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(counts.all(), Ended { finished: 0, failed: 1, cancelled: 0 });
        assert_eq!(counts.queues().len(), 1);
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!((counts.all().all(), counts.queues().len()), (0, 0));
        let known = counts.known_for();
        assert!(known <= WINDOW && known >= WINDOW - SLICE, "{known:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_ten_seconds() {
        let (counts, queue) = (EndedCounts::default(), Queue::default());
        assert!(counts.per_s() < f64::EPSILON);
        for _ in 0..20 {
            counts.add(&queue, FINISHED);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!((counts.per_s() - 1.0).abs() < 1e-9, "{}", counts.per_s());
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(counts.per_s() < f64::EPSILON);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_told_counts_and_is_not_told_again() {
        let (counts, queue) = (EndedCounts::default(), Queue::default());
        counts.add_told([(queue.clone(), FINISHED)]);
        assert!(counts.take_untold().is_empty());
        counts.add(&queue, FINISHED);
        assert_eq!(counts.take_untold(), HashMap::from([(queue.clone(), FINISHED)]));
        assert!(counts.take_untold().is_empty());
        assert_eq!(counts.of(&queue).finished, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_names_of_queues_do_not_fill_the_memory() {
        let counts = EndedCounts::default();
        for number in 0..=MOST_QUEUES {
            counts.add(&format!("q{number}").parse().unwrap(), FINISHED);
        }
        assert_eq!((counts.queues().len(), counts.all().finished), (MOST_QUEUES, MOST_QUEUES as u64 + 1));
    }
}
