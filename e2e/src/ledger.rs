//! What the job-service's ledger says about a run. Clients do not see it; some promises show only there.

use serde::Deserialize;

use crate::Status;

/// A run's document, as far as tests look at it.
#[derive(Debug, Clone, Deserialize)]
pub struct LedgerRun {
    /// Where it stands.
    pub status: Status,
    /// The number of the latest claim.
    pub attempt: u32,
    /// How many attempts count.
    pub charged: u32,
    /// How many leases were lost.
    #[serde(default)]
    pub lost: u32,
    /// What its handler answered.
    pub result: Option<String>,
    /// What still has to be done with it.
    pub next_action: Option<String>,
    /// The attempts that ended.
    #[serde(default)]
    pub attempts: Vec<LedgerAttempt>,
}

/// One attempt of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct LedgerAttempt {
    /// How it ended.
    pub outcome: String,
    /// Whether it counts.
    pub charged: bool,
    /// Who made it.
    pub worker: String,
}

impl LedgerRun {
    /// How its attempts ended, in their order.
    #[must_use]
    pub fn outcomes(&self) -> Vec<&str> {
        self.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect()
    }
}
