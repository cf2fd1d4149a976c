//! Goes on with claims of this worker whose outcome it was not told: the ledger has them under its name, and without
//! this they would wait for the end of their leases and be charged for it.

use std::time::Duration;

use service_kit::telemetry::chain;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::fetch::Fetcher;

/// The pause between two looks, while anything is in doubt.
const PAUSE: Duration = Duration::from_millis(500);

/// The most runs that are gone on with after one look.
const BATCH: usize = 256;

/// Looks while anything is in doubt, until told to stop.
pub async fn keep(fetcher: &Fetcher, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(fetcher) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn look(fetcher: &Fetcher) {
    let runner = &fetcher.runner;
    let in_doubt = runner.ledger.in_doubt().await;
    // Where no slot is free, it waits for its turn as the stream does; but not for so long that a lease
    // could end meanwhile, which is renewed by each look.
    let patience = runner.settings.lease / 3;
    let slots = timeout(patience, fetcher.free_slots(in_doubt.min(BATCH))).await;
    let mut slots = slots.unwrap_or_default();
    match runner.ledger.take_doubtful(slots.len()).await {
        Ok(taken) => {
            for (run, claiming) in taken {
                let Some(slot) = slots.pop() else { return };
                info!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt }, "claimed after all; going on with it");
                let runner = runner.clone();
                fetcher.tasks.spawn(async move { runner.run(run, slot, claiming, None).await });
            }
        }
        Err(error) => warn!(error = chain(&error), "could not look for claims that were not answered"),
    }
}
