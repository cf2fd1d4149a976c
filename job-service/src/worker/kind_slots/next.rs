//! Starts the next run of a kind as soon as it has a slot again.

use std::time::Duration;

use service_kit::telemetry::chain;
use shared_events::Kind;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    super::{Worker, due},
    Slot,
};

/// The pause after a look that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts what waits whenever a slot of its kind becomes free, until told to stop.
pub(in super::super) async fn run(worker: &Worker, stop: &CancellationToken) {
    let kinds = &worker.kind_slots;
    if kinds.limited().is_empty() {
        return stop.cancelled().await;
    }
    let _taking_over = kinds.take_over();
    while !stop.is_cancelled() {
        if worker.database_is_away(stop).await {
            continue;
        }
        let to_start = kinds.to_start();
        tokio::select! {
            () = stop.cancelled() => return,
            () = kinds.changed() => {}
            // In turn with those who fetch: `try_acquire` might never get one.
            mut general = worker.free_slots(1), if !to_start.is_empty() => {
                for kind in &to_start {
                    start(worker, kind, kinds.all_for_waiting(kind, &mut general), stop).await;
                }
            }
        }
        for (kind, slots) in kinds.handed_over() {
            start(worker, &kind, slots, stop).await;
        }
    }
}

async fn start(worker: &Worker, kind: &Kind, slots: Vec<Slot>, stop: &CancellationToken) {
    if slots.is_empty() {
        return;
    }
    if let Err(error) = due::claim_of_kind(worker, kind, slots).await {
        warn!(job.kind = %kind, error = chain(&error), "could not look for runs that wait for a slot of their kind");
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}
