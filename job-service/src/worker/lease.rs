//! Keeps the leases of what is running, and stops what somebody else owns or nobody wants any more.

use std::time::Duration;

use service_kit::{StoreError, failpoints::failpoint, mongo::Durability, telemetry::chain};
use shared_events::RunId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::active_runs::{ActiveRuns, StopReason};
use crate::ledger::Ledger;

/// Renews every third of a lease, and sooner again where the database did not answer. Only a
/// refusal stops a handler; a database that does not answer does not.
pub(crate) async fn renew_leases(
    ledger: &Ledger,
    active: &ActiveRuns,
    lease: Duration,
    stop: &CancellationToken,
) {
    let third = lease / 3;
    let mut pause = third;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = third;
        for (running, durability) in by_durability(active) {
            match renew(ledger, active, running, durability).await {
                // They hold from when it was asked, which may be long ago where the database was away.
                Ok(took) => pause = pause.min(third.saturating_sub(took)),
                Err((count, error)) => {
                    warn!(count, error = chain(&error), "leases not renewed; trying again");
                    pause = (lease / 10).min(Duration::from_secs(1));
                }
            }
        }
    }
}

/// What is running, by how its renewal is to be written: late acks come after it.
fn by_durability(active: &ActiveRuns) -> [(Vec<(RunId, u32)>, Durability); 2] {
    let (late, others) =
        active.all().into_iter().partition(|(id, attempt)| active.is_recovered_by_redelivery(id, *attempt));
    [(others, Durability::InMemory), (late, Durability::Journaled)]
}

/// Answers how long it took; with how many were not renewed, and why not.
async fn renew(
    ledger: &Ledger,
    active: &ActiveRuns,
    running: Vec<(RunId, u32)>,
    durability: Durability,
) -> Result<Duration, (usize, StoreError)> {
    let (count, asked) = (running.len(), Instant::now());
    if count == 0 {
        return Ok(Duration::ZERO);
    }
    let renewal = ledger.renew(running, durability).await.map_err(|error| (count, error))?;
    let took = asked.elapsed();
    debug!(count, refused = renewal.superseded.len(), "leases renewed");
    renewal.superseded.iter().for_each(|(run, attempt)| active.supersede(run, *attempt));
    renewal.cancelled.iter().for_each(|run| active.stop(run, StopReason::Requested));
    failpoint("job.lease.renewed");
    if durability == Durability::Journaled {
        for recovered_by in active.leave_to_due_scan(&renewal.kept) {
            recovered_by.has_time().await;
        }
    }
    failpoint("job.lease.acked");
    Ok(took)
}
