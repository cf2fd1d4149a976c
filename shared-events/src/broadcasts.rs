//! The bodies of broadcasts on core NATS, which may be lost: they only make something happen sooner.

use serde::{Deserialize, Serialize};

use utoipa::ToSchema;

use crate::{JobId, Kind, Queue, RunId, Status, Timestamp, WorkerId};

/// On [`crate::subjects::CHANGED`]: what the api-service's replicas tell each other after they have applied events. In
/// JSON a list of `[job, run, status]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changed(pub Vec<(JobId, u32, Status)>);

/// On [`crate::subjects::STOP`]: the runs whose handlers are to stop at once, wherever they run. In JSON a list of run
/// ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stop(pub Vec<RunId>);

/// On [`crate::subjects::ENDED`]: how many jobs a replica of the api-service has learnt to have ended since it last said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedJobs {
    /// Who says so: a text of its own for each process.
    pub replica: String,
    /// By queue.
    pub queues: Vec<EndedInQueue>,
}

/// How many jobs of a queue have ended, by how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedInQueue {
    /// The queue.
    pub queue: Queue,
    /// They are done.
    pub finished: u64,
    /// They failed for good.
    pub failed: u64,
    /// They were cancelled.
    pub cancelled: u64,
}

/// On [`crate::subjects::WORKER_HEARTBEAT`]: what a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker.
    pub id: WorkerId,
    /// The name of its machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Since when it runs, by its machine's clock.
    pub since: Timestamp,
    /// Which queues it serves.
    pub queues: Vec<Queue>,
    /// Which kinds it has handlers for.
    pub kinds: Vec<Kind>,
    /// How many attempts it makes at once, at most.
    pub slots: u32,
    /// How many it makes now.
    pub slots_used: u32,
    /// Those of kinds that may take only so many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kind_slots: Vec<KindSlots>,
    /// How many attempts it has started within the last minute.
    pub attempts_per_minute: u64,
    /// What it is doing.
    pub state: WorkerState,
}

/// A kind that may take only so many of a worker's slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindSlots {
    /// The kind.
    pub kind: Kind,
    /// How many attempts of it the worker makes at once, at most.
    pub slots: u32,
    /// How many it makes now.
    pub slots_used: u32,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It takes runs.
    Running,
    /// It takes nothing new, and makes attempts that it had begun.
    Draining,
    /// It takes nothing new, and has nothing left.
    Drained,
    /// It was told to end, and lets what runs come to an end.
    Stopping,
    /// It has ended.
    Stopped,
}

impl WorkerState {
    /// The state as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// On [`crate::subjects::WORKER_CONTROL`]: what one worker is to do. Its next heart-beat shows that it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRequest {
    /// Which worker.
    pub worker: WorkerId,
    /// What.
    pub command: WorkerCommand,
}

/// What a worker may be asked for. Each may be asked for any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerCommand {
    /// To take nothing new.
    Drain,
    /// To take runs again.
    Resume,
}
