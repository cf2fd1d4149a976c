//! The bodies of broadcasts on core NATS, which may be lost: they only make something happen sooner.

use serde::{Deserialize, Serialize};

use crate::{JobId, Queue, RunId, Status};

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
