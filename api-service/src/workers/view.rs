//! Workers as clients see them.

use serde::Serialize;
use shared_events::{
    Kind, Queue, Timestamp, WorkerId,
    broadcasts::{Heartbeat, KindSlots, WorkerState},
};
use utoipa::ToSchema;

use super::{Seen, Snapshot};

/// A worker: one process of the job-service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
pub(super) struct WorkerView<'a> {
    /// Its id, until it ends: one that starts again has another.
    #[schema(value_type = WorkerId)]
    id: &'a WorkerId,
    /// The name of its machine.
    #[schema(example = "worker-3")]
    host: &'a str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'a str,
    /// Since when it runs.
    since: Timestamp,
    /// The queues that it serves.
    queues: &'a [Queue],
    /// The kinds that it has handlers for.
    kinds: &'a [Kind],
    /// How many attempts it makes at once, at most.
    slots: u32,
    /// How many it makes now.
    slots_used: u32,
    /// Of the kinds that may take only so many of its slots.
    kind_slots: &'a [KindSlots],
    /// How many attempts it has started within the last minute.
    attempts_per_minute: u64,
    /// When it was heard last; it says something every second.
    last_seen: Timestamp,
    /// `running`: it takes runs. `draining`: it takes nothing new, and makes attempts that it had begun. `drained`: it
    /// takes nothing new, and has nothing left. `stopping`: it was told to end.
    state: WorkerState,
}

/// All workers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerList<'a> {
    /// Those that have run longest come first.
    workers: Vec<WorkerView<'a>>,
    /// What the workers are is known as of then: now, to a second, unless NATS is away.
    as_of: Timestamp,
    /// How long ago that is, in seconds.
    #[schema(minimum = 0, example = 0.25)]
    age_s: f64,
}

impl<'a> From<&'a Seen> for WorkerView<'a> {
    fn from(Seen { heartbeat, at }: &'a Seen) -> Self {
        let Heartbeat {
            id,
            host,
            version,
            since,
            queues,
            kinds,
            slots,
            slots_used,
            kind_slots,
            attempts_per_minute,
            state,
        } = heartbeat;
        Self {
            id,
            host,
            version,
            since: *since,
            queues,
            kinds,
            slots: *slots,
            slots_used: *slots_used,
            kind_slots,
            attempts_per_minute: *attempts_per_minute,
            last_seen: at.time,
            state: *state,
        }
    }
}

impl<'a> From<&'a Snapshot> for WorkerList<'a> {
    fn from(Snapshot { workers, as_of, age }: &'a Snapshot) -> Self {
        let age_s = f64::from(u32::try_from(age.as_millis()).unwrap_or(u32::MAX)) / 1000.0;
        Self { workers: workers.iter().map(WorkerView::from).collect(), as_of: *as_of, age_s }
    }
}
