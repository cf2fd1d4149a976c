//! What is true of the whole system, for Prometheus: the queues' depths and the workers.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use service_kit::{
    StoreError,
    metrics::{Family, Gauges, Snapshot},
};
use shared_events::broadcasts::WorkerState;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    jobs::{created_at, timestamp},
    queues::{QueueState, Queues},
    workers::{Seen, Workers},
};

/// How long an answer is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The most queues that are named; the rest is `other`.
const NAMED: usize = 100;

static JOBS: Gauges<2> = Gauges::gauges(
    "hasty_queue_jobs",
    ["queue", "state"],
    "open jobs. `state`: `scheduled`, `waiting`, `running`. Of each queue, priority and state at most 10,000 are counted",
);

static OLDEST_SECONDS: Gauges<1> = Gauges::gauges(
    "hasty_queue_oldest_waiting_seconds",
    ["queue"],
    "how long ago the oldest of the jobs that wait was created; 0 where none waits",
);

static QUEUE_WORKERS: Gauges<1> = Gauges::gauges(
    "hasty_queue_workers",
    ["queue"],
    "workers that take jobs from it; those of a queue whose jobs have all ended are not shown",
);

static WORKERS: Gauges<1> = Gauges::gauges(
    "hasty_workers",
    ["state"],
    "workers that are there. `state`: `running`, `draining`, `drained`, `stopping`",
);

static SLOTS: Gauges<0> =
    Gauges::gauges("hasty_workers_slots", [], "how many attempts all of them make at once");

static SLOTS_USED: Gauges<0> = Gauges::gauges("hasty_workers_slots_used", [], "how many they make now");

/// What is shown.
pub static FAMILIES: &[&dyn Family] =
    &[&JOBS, &OLDEST_SECONDS, &QUEUE_WORKERS, &WORKERS, &SLOTS, &SLOTS_USED];

/// The latest answer.
#[derive(Debug, Default)]
pub struct SystemMetrics(Mutex<Option<(Instant, Bytes)>>);

impl SystemMetrics {
    /// In the text format, at most a second old.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn text(&self, queues: &Queues, workers: &Workers) -> Result<Bytes, StoreError> {
        // Who comes meanwhile waits for the same answer.
        let mut known = self.0.lock().await;
        if let Some((at, text)) = &*known
            && at.elapsed() < GOOD_FOR
        {
            return Ok(text.clone());
        }
        let now_ms = timestamp(queues.now()).millis();
        let rows = rows(queues.all().await?.into_iter().map(|state| Row::of(&state, now_ms, workers)));
        let text = Bytes::from(render(&rows, &workers.snapshot().workers));
        *known = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

/// A queue's line, or that of all that are not named.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Row {
    scheduled: u64,
    waiting: u64,
    running: u64,
    oldest_s: f64,
    workers: usize,
}

impl Row {
    fn of(state: &QueueState, now_ms: i64, workers: &Workers) -> (String, Self) {
        let oldest_ms = state.open.oldest.map_or(0, |oldest| now_ms - created_at(oldest).millis());
        let row = Self {
            scheduled: state.open.scheduled.count,
            waiting: state.open.waiting.values().map(|count| count.count).sum(),
            running: state.open.running.count,
            oldest_s: oldest_ms.max(0) as f64 / 1000.0,
            workers: workers.serving(&state.queue),
        };
        (state.queue.to_string(), row)
    }

    fn add(&mut self, more: Self) {
        self.scheduled += more.scheduled;
        self.waiting += more.waiting;
        self.running += more.running;
        self.oldest_s = self.oldest_s.max(more.oldest_s);
        self.workers = self.workers.max(more.workers);
    }
}

/// By name; the queues that come after the first hundred are one.
fn rows(queues: impl Iterator<Item = (String, Row)>) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (place, (queue, row)) in queues.enumerate() {
        let name = if place < NAMED { queue } else { "other".to_owned() };
        rows.entry(name).or_default().add(row);
    }
    rows
}

fn render(rows: &BTreeMap<String, Row>, workers: &[Seen]) -> String {
    let snapshot = Snapshot::of(FAMILIES);
    for (queue, row) in rows {
        for (state, count) in
            [("scheduled", row.scheduled), ("waiting", row.waiting), ("running", row.running)]
        {
            snapshot.set(&JOBS, [queue, state], count as f64);
        }
        snapshot.set(&OLDEST_SECONDS, [queue], row.oldest_s);
        snapshot.set(&QUEUE_WORKERS, [queue], row.workers as f64);
    }
    for state in [WorkerState::Running, WorkerState::Draining, WorkerState::Drained, WorkerState::Stopping] {
        let there = workers.iter().filter(|seen| seen.heartbeat.state == state).count();
        snapshot.set(&WORKERS, [state.as_str()], there as f64);
    }
    let slots: u64 = workers.iter().map(|seen| u64::from(seen.heartbeat.slots)).sum();
    let used: u64 = workers.iter().map(|seen| u64::from(seen.heartbeat.slots_used)).sum();
    snapshot.set(&SLOTS, [], slots as f64);
    snapshot.set(&SLOTS_USED, [], used as f64);
    snapshot.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_a_hundred_queues_are_named() {
        let one = Row { waiting: 1, oldest_s: 2.0, ..Row::default() };
        let rows = rows((0..150).map(|number| (format!("q{number:03}"), one)));
        assert_eq!(rows.len(), NAMED + 1);
        assert_eq!(rows["other"], Row { waiting: 50, ..one });
        let text = render(&rows, &[]);
        assert!(text.contains("hasty_queue_jobs{queue=\"q099\",state=\"waiting\"} 1\n"), "{text}");
        assert!(text.contains("hasty_queue_jobs{queue=\"other\",state=\"waiting\"} 50\n"), "{text}");
    }
}
