//! Takes what is due in the ledger: retries, and runs whose lease has ended.

use std::time::Duration;

use service_kit::{
    StoreError,
    failpoints::{Safeguard, failpoint},
    retry::jittered,
    telemetry::chain,
};
use shared_events::Kind;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Worker, active_runs::ClaimGuard, claimed::Claimed, kind_slots::Slot, late_ack::RecoveredBy};
use crate::ledger::DueKinds;

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
    match claim(worker, slots, DueOf::AllKinds).await {
        Ok(found) => found.more,
        Err(error) => {
            warn!(error = chain(&error), "could not look for due runs");
            false
        }
    }
}

/// Whose runs a look takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DueOf {
    /// All kinds'.
    AllKinds,
    /// Those of kinds that have slots of their own.
    LimitedKinds,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// How many runs were claimed.
    pub(super) claimed: usize,
    /// Whether there may be more.
    pub(super) more: bool,
}

/// Claims as many due runs as there are slots, and runs them.
pub(super) async fn claim(
    worker: &Worker,
    mut free: Vec<OwnedSemaphorePermit>,
    of: DueOf,
) -> Result<Found, StoreError> {
    let (limited, mut all) = (worker.kind_slots.limited(), Found::default());
    for kind in &limited {
        let slots = worker.kind_slots.all_for_waiting(kind, &mut free);
        if !slots.is_empty() {
            let found = claim_of_kind(worker, kind, slots).await?;
            all = Found { claimed: all.claimed + found.claimed, more: all.more || found.more };
        }
    }
    if of == DueOf::LimitedKinds || free.is_empty() {
        return Ok(all);
    }
    let others = DueKinds::AllBut(&limited);
    let (runs, more) = worker.claimer.claim_due(&worker.queues, others, free.len()).await?;
    let claimed = runs.len();
    go_on(worker, runs, free.into_iter().map(Slot::of_any_kind));
    Ok(Found { claimed: all.claimed + claimed, more: all.more || more })
}

/// The same of one kind that has slots of its own. Those that are left over are free.
pub(super) async fn claim_of_kind(
    worker: &Worker,
    kind: &Kind,
    mut slots: Vec<Slot>,
) -> Result<Found, StoreError> {
    let mark = worker.kind_slots.mark(kind);
    let found = worker.claimer.claim_due(&worker.queues, DueKinds::Only(kind), slots.len()).await;
    // Before what is left is let go, or it would be handed over again.
    let taken = found.as_ref().map_or(0, |(runs, _)| runs.len());
    let left = slots.split_off(taken.min(slots.len()));
    left.into_iter().for_each(Slot::release);
    let (runs, more) = found?;
    let claimed = runs.len();
    match (more, claimed) {
        (false, _) => worker.kind_slots.none_waits(kind, mark),
        (true, 1..) => worker.kind_slots.one_waits(kind),
        // What can not be read is passed over by the next look.
        (true, 0) => {}
    }
    // Who came during this look found no slot, and is waiting now.
    worker.kind_slots.look_again(kind);
    go_on(worker, runs, slots.into_iter());
    Ok(Found { claimed, more })
}

fn go_on(worker: &Worker, runs: Vec<(Claimed, ClaimGuard)>, slots: impl Iterator<Item = Slot>) {
    if !runs.is_empty() {
        failpoint("job.due.taken");
        debug!(claimed = runs.len(), "claimed what was due");
    }
    for ((run, guard), slot) in runs.into_iter().zip(slots) {
        let one = worker.clone();
        let going_on = async move { one.go_on(run, Some(slot), guard, RecoveredBy::DueScan).await };
        worker.tasks.spawn(going_on);
    }
}
