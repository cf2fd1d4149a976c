//! Keeps the leases of what is running, and stops what somebody else owns or nobody wants any more.

use std::time::Duration;

use service_kit::{faults::gap, telemetry::chain};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    held::{Held, Stop},
    ledger::Ledger,
};

/// Renews every third of a lease, and sooner again where the database did not answer. Only a
/// refusal stops a handler; a database that does not answer does not.
pub async fn keep(ledger: &Ledger, held: &Held, lease: Duration, stop: &CancellationToken) {
    let third = lease / 3;
    let mut pause = third;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let running = held.all();
        pause = third;
        if running.is_empty() {
            continue;
        }
        let (count, asked) = (running.len(), Instant::now());
        match ledger.renew(running).await {
            Ok(renewal) => {
                debug!(count, refused = renewal.superseded.len(), "leases renewed");
                // They hold from when it was asked, which may be long ago where the database was away.
                pause = third.saturating_sub(asked.elapsed());
                renewal.superseded.iter().for_each(|(run, attempt)| held.supersede(run, *attempt));
                renewal.cancelled.iter().for_each(|run| held.stop(run, Stop::Requested));
                gap("job.lease.renewed");
                for carrier in held.carriers(&renewal.kept) {
                    carrier.ack().await;
                }
                gap("job.lease.acked");
            }
            Err(error) => {
                warn!(count, error = chain(&error), "leases not renewed; trying again");
                pause = (lease / 10).min(Duration::from_secs(1));
            }
        }
    }
}
