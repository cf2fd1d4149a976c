//! Looks through the ledger for what is due: retries, and runs whose lease has ended. As with the
//! stream, a slot comes first.

use std::{sync::Arc, time::Duration};

use service_kit::{
    faults::{Safeguard, gap},
    telemetry::chain,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::fetch::Fetcher;

/// The most runs of one look.
const BATCH: usize = 256;

/// Looks until told to stop.
pub async fn scan(fetcher: &Fetcher, every: Duration, stop: &CancellationToken) {
    loop {
        let pause = every.mul_f64(rand::random_range(0.75..1.25));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        while !stop.is_cancelled() && !Safeguard::EndedLeases.is_off() && scan_once(fetcher).await {}
    }
}

/// Whether there may be more.
async fn scan_once(fetcher: &Fetcher) -> bool {
    // Half of what is free is left to the stream, or what comes during this look would find no slot.
    let most = fetcher.slots.available_permits().div_ceil(2).min(BATCH);
    let mut slots = Vec::new();
    while slots.len() < most {
        let Ok(slot) = Arc::clone(&fetcher.slots).try_acquire_owned() else { break };
        slots.push(slot);
    }
    if slots.is_empty() {
        return false;
    }
    let most = slots.len();
    match fetcher.runner.ledger.take_due(&fetcher.runner.settings.queues, most).await {
        Ok((taken, more)) => {
            if !taken.is_empty() {
                gap("job.due.taken");
            }
            if !taken.is_empty() {
                debug!(taken = taken.len(), "took what was due");
            }
            for ((claimed, claiming), slot) in taken.into_iter().zip(slots) {
                let fetcher_of_one = fetcher.clone();
                fetcher.tasks.spawn(async move { fetcher_of_one.go_on(claimed, slot, claiming, None).await });
            }
            more
        }
        Err(error) => {
            warn!(error = chain(&error), "could not look for due runs");
            false
        }
    }
}
