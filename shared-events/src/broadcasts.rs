//! The bodies of broadcasts on core NATS, which may be lost: they only make something happen sooner.

use serde::{Deserialize, Serialize};

use crate::{JobId, RunId, Status};

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
