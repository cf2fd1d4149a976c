//! What tokio says of the runtime that everything but HTTP and handlers runs on.

use tokio::runtime::Handle;

use super::{Counters, Gauges};

pub(super) static THREADS: Gauges<0> =
    Gauges::gauges("hasty_runtime_threads", [], "threads of the runtime (`TOKIO_WORKER_THREADS`)");

pub(super) static TASKS: Gauges<0> = Gauges::gauges("hasty_runtime_tasks", [], "tasks that have not ended");

pub(super) static QUEUED: Gauges<0> = Gauges::gauges(
    "hasty_runtime_queued_tasks",
    [],
    "tasks that wait for a thread and are in the queue that all threads share",
);

pub(super) static BUSY_SECONDS: Counters<0> = Counters::counters(
    "hasty_runtime_busy_seconds_total",
    [],
    "how long its threads have been busy, all together, in whole seconds",
);

/// Asks it.
pub(super) fn look(runtime: &Handle) {
    let runtime = runtime.metrics();
    let busy: f64 = (0..runtime.num_workers())
        .map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64())
        .sum();
    THREADS.set([], runtime.num_workers() as f64);
    TASKS.set([], runtime.num_alive_tasks() as f64);
    QUEUED.set([], runtime.global_queue_depth() as f64);
    BUSY_SECONDS.raise_to([], busy as u64);
}
