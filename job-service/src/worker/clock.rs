//! Keeps this worker's idea of the ledger's clock.

use std::time::Duration;

use service_kit::telemetry::chain;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::ledger::Ledger;

/// How long the clock is relied on at most: this machine may have slept, or the database's clock been set.
const LONGEST: Duration = Duration::from_secs(10);

/// Reads the database's clock again and again, at least three times in a lease, until told to stop.
pub(crate) async fn follow_clock(ledger: &Ledger, lease: Duration, stop: &CancellationToken) {
    let pause = (lease / 3).min(LONGEST);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = ledger.mongo().learn_clock().await {
            warn!(error = chain(&error), "could not read the database's clock");
        }
    }
}
