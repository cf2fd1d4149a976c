//! The attempts of a run, as events and documents tell of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{JobError, Timestamp, WorkerId};

/// One attempt that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// The claim's number.
    pub attempt: u32,
    /// Who claimed it.
    pub worker: WorkerId,
    /// When.
    pub started_at: Timestamp,
    /// When it ended; of a lost lease, when that was noticed.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Whether it counts towards `max_attempts`.
    pub charged: bool,
    /// What went wrong, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The handler said done.
    Finished,
    /// The handler failed, panicked, or is not known here.
    Failed,
    /// It was stopped: asked for, or over its time.
    Cancelled,
    /// The worker gave it back: it was shutting down.
    Released,
    /// The worker let its lease run out.
    Lost,
}
