//! Takes what is due in the ledger: retries, and runs whose lease has ended.

use std::time::Duration;

use service_kit::{
    StoreError,
    failpoints::{Safeguard, failpoint},
    retry::jittered,
    telemetry::chain,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Worker, late_ack::RecoveredBy};

/// The most runs of one look.
pub(super) const BATCH: usize = 256;

/// The most looks in a row, so that documents that can not be read do not keep it busy for ever.
pub(super) const LOOKS: usize = 100;

/// Looks every so often, until told to stop.
pub async fn run(worker: &Worker, every: Duration, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered(every)) => {}
        }
        for _ in 0..LOOKS {
            if stop.is_cancelled() || Safeguard::EndedLeases.is_off() || !look(worker).await {
                break;
            }
        }
    }
}

/// Whether there may be more.
async fn look(worker: &Worker) -> bool {
    // Half of what is free is left to the stream, or what comes during this look would find no slot.
    let most = worker.slots.available_permits().div_ceil(2).min(BATCH);
    let mut slots = Vec::new();
    worker.take_free_slots(&mut slots, most);
    if slots.is_empty() {
        return false;
    }
    match claim(worker, slots).await {
        Ok(found) => found.more,
        Err(error) => {
            warn!(error = chain(&error), "could not look for due runs");
            false
        }
    }
}

/// What a look has found.
pub(super) struct Found {
    /// How many runs were claimed.
    pub(super) claimed: usize,
    /// Whether there may be more.
    pub(super) more: bool,
}

/// Claims as many due runs as there are slots, and runs them.
pub(super) async fn claim(worker: &Worker, slots: Vec<OwnedSemaphorePermit>) -> Result<Found, StoreError> {
    let (runs, more) = worker.claimer.claim_due(&worker.queues, slots.len()).await?;
    let claimed = runs.len();
    if claimed > 0 {
        failpoint("job.due.taken");
        debug!(claimed, "claimed what was due");
    }
    for ((run, guard), slot) in runs.into_iter().zip(slots) {
        let one = worker.clone();
        let going_on = async move { one.go_on(run, slot, guard, RecoveredBy::DueScan).await };
        worker.tasks.spawn(going_on);
    }
    Ok(Found { claimed, more })
}
