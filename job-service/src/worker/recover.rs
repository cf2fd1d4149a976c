//! Recovers claims of this worker whose outcome it was not told: the ledger has them under its name, and without
//! this they would wait for the end of their leases and be charged for it.

use std::time::Duration;

use service_kit::telemetry::chain;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Worker, late_ack::RecoveredBy};

/// The pause between two looks, while any claim is indeterminate.
const PAUSE: Duration = Duration::from_millis(500);

/// The most runs that are recovered by one look.
const BATCH: usize = 256;

/// Looks while any claim is indeterminate, until told to stop.
pub async fn run(worker: &Worker, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(worker) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn look(worker: &Worker) {
    let indeterminate = worker.claimer.indeterminate().await;
    // Where no slot is free, it waits for its turn as the stream does; but not for so long that a lease
    // could end meanwhile, which is renewed by each look.
    let wait = worker.executor.ledger.lease() / 3;
    let slots = timeout(wait, worker.free_slots(indeterminate.min(BATCH))).await;
    let mut slots = slots.unwrap_or_default();
    let kinds = &worker.kind_slots;
    match worker.claimer.recover(slots.len(), |kind| kinds.has_free(kind)).await {
        Ok(recovered) => {
            for (run, guard) in recovered {
                let Some(slot) = slots.pop() else { return };
                let slot = match kinds.for_waiting(&run.kind, slot) {
                    Ok(slot) => slot,
                    Err(slot) => {
                        // The next look finds it again.
                        slots.push(slot);
                        continue;
                    }
                };
                info!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt }, "claimed after all; going on with it");
                let executor = worker.executor.clone();
                let running = async move { executor.run(run, slot, guard, RecoveredBy::DueScan).await };
                worker.tasks.spawn(running);
            }
        }
        Err(error) => warn!(error = chain(&error), "could not look for claims that were not answered"),
    }
}
