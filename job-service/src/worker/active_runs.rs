//! The runs that this worker is claiming or running right now, and how to stop one.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use shared_events::RunId;
use tokio::sync::oneshot;

use super::late_ack::RecoveredBy;

/// Why a running attempt is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The client asked for it.
    Requested,
    /// Somebody else owns the run.
    Superseded,
    /// This worker is shutting down.
    Shutdown,
}

/// See the module. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct ActiveRuns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Mutex<HashMap<RunId, Entry>>,
    claiming: Mutex<HashSet<RunId>>,
    started: AtomicU64,
    blocked: AtomicUsize,
}

/// Nobody else in this process claims the run as long as this lives. Two claims of one worker look
/// alike in the ledger, so both would take the run for theirs.
#[derive(Debug)]
pub struct ClaimGuard {
    active: ActiveRuns,
    id: RunId,
}

#[derive(Debug)]
struct Entry {
    attempt: u32,
    recovered_by: RecoveredBy,
    stop: Option<oneshot::Sender<StopReason>>,
}

/// A run is active as long as this lives.
#[derive(Debug)]
pub struct ActiveRun {
    active: ActiveRuns,
    id: RunId,
    attempt: u32,
}

/// A handler that was stopped keeps its slot as long as this lives.
#[derive(Debug)]
pub struct BlockedHandler(ActiveRuns);

impl ActiveRuns {
    /// Begins to claim a run; none where this worker is at it already.
    #[must_use]
    pub fn claim(&self, id: RunId) -> Option<ClaimGuard> {
        let mut claiming = self.0.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        claiming.insert(id).then(|| ClaimGuard { active: self.clone(), id })
    }

    /// A run is active, and brought on like this after a crash, for as long as the guard lives; the receiver gets the
    /// reason to stop.
    #[must_use]
    pub fn enter(
        &self,
        id: RunId,
        attempt: u32,
        recovered_by: RecoveredBy,
    ) -> (ActiveRun, oneshot::Receiver<StopReason>) {
        let (stop, stopped) = oneshot::channel();
        self.0.started.fetch_add(1, Ordering::Relaxed);
        self.with(|runs| runs.insert(id, Entry { attempt, recovered_by, stop: Some(stop) }));
        (ActiveRun { active: self.clone(), id, attempt }, stopped)
    }

    /// Whether this worker is running it.
    #[must_use]
    pub fn contains(&self, id: &RunId) -> bool {
        self.with(|runs| runs.contains_key(id))
    }

    /// All of them, with their attempts.
    #[must_use]
    pub fn all(&self) -> Vec<(RunId, u32)> {
        self.with(|runs| runs.iter().map(|(id, entry)| (*id, entry.attempt)).collect())
    }

    /// How many attempts were ever begun.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.0.started.load(Ordering::Relaxed)
    }

    /// How many attempts are being made or recorded, and how many handlers still block after theirs.
    #[must_use]
    pub fn slots_used(&self) -> usize {
        self.with(|runs| runs.len()) + self.0.blocked.load(Ordering::Relaxed)
    }

    /// Counts a handler that was stopped and still blocks its thread.
    #[must_use]
    pub fn count_blocked(&self) -> BlockedHandler {
        self.0.blocked.fetch_add(1, Ordering::Relaxed);
        BlockedHandler(self.clone())
    }

    /// Whether this attempt is brought on by its announcement.
    #[must_use]
    pub fn is_recovered_by_redelivery(&self, id: &RunId, attempt: u32) -> bool {
        self.with(|runs| {
            runs.get(id).is_some_and(|entry| entry.attempt == attempt && entry.recovered_by.is_redelivery())
        })
    }

    /// These attempts are found by the due scan from now on: what brought them on before.
    #[must_use]
    pub fn leave_to_due_scan(&self, attempts: &[(RunId, u32)]) -> Vec<RecoveredBy> {
        self.with(|runs| {
            let entry = |(id, attempt): &(RunId, u32)| {
                let entry = runs.get_mut(id).filter(|entry| entry.attempt == *attempt)?;
                Some(std::mem::replace(&mut entry.recovered_by, RecoveredBy::DueScan))
            };
            attempts.iter().filter_map(entry).collect()
        })
    }

    /// Tells an attempt to stop, if it runs here and was not told before.
    pub fn stop(&self, id: &RunId, reason: StopReason) {
        let stop = self.with(|runs| runs.get_mut(id).and_then(|entry| entry.stop.take()));
        if let Some(stop) = stop {
            // An attempt that has just ended needs no telling.
            let _ = stop.send(reason);
        }
    }

    /// Tells an attempt that somebody else owns its run; a later attempt that runs here is not meant.
    pub fn supersede(&self, id: &RunId, attempt: u32) {
        let runs = self.with(|runs| runs.get(id).is_some_and(|entry| entry.attempt == attempt));
        if runs {
            self.stop(id, StopReason::Superseded);
        }
    }

    /// Tells all of them to stop.
    pub fn stop_all(&self, reason: StopReason) {
        for (id, _) in self.all() {
            self.stop(&id, reason);
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<RunId, Entry>) -> T) -> T {
        act(&mut self.0.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ActiveRun {
    /// What brings the run on after a crash; whoever has it decides about it from now on.
    #[must_use]
    pub fn take_recovered_by(&self) -> RecoveredBy {
        let taken = self.active.leave_to_due_scan(&[(self.id, self.attempt)]).pop();
        taken.unwrap_or(RecoveredBy::DueScan)
    }
}

impl Drop for BlockedHandler {
    fn drop(&mut self) {
        self.0.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        self.active.0.claiming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        self.active.with(|runs| {
            // A later attempt of the same run may have taken the place.
            if runs.get(&self.id).is_some_and(|entry| entry.attempt == self.attempt) {
                runs.remove(&self.id);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn a_run_is_active_until_its_guard_goes() {
        let (active, id) = (ActiveRuns::default(), JobId::generate().run(1));
        let (run, _stopped) = active.enter(id, 1, RecoveredBy::DueScan);
        assert!(active.contains(&id));
        drop(run);
        assert!(!active.contains(&id));
    }

    #[test]
    fn the_guard_of_an_older_attempt_does_not_let_go_of_a_later_one() {
        let (active, id) = (ActiveRuns::default(), JobId::generate().run(1));
        let (first, _) = active.enter(id, 1, RecoveredBy::DueScan);
        let (_second, _stopped) = active.enter(id, 2, RecoveredBy::DueScan);
        drop(first);
        assert_eq!(active.all(), [(id, 2)]);
    }

    #[test]
    fn a_handler_that_blocks_counts_after_its_run() {
        let (active, id) = (ActiveRuns::default(), JobId::generate().run(1));
        let (run, _stopped) = active.enter(id, 1, RecoveredBy::DueScan);
        let blocked = active.count_blocked();
        drop(run);
        assert_eq!((active.started(), active.slots_used()), (1, 1));
        drop(blocked);
        assert_eq!((active.started(), active.slots_used()), (1, 0));
    }

    #[test]
    fn a_run_is_claimed_by_one_at_a_time() {
        let (active, id) = (ActiveRuns::default(), JobId::generate().run(1));
        let guard = active.claim(id);
        assert!(guard.is_some() && active.claim(id).is_none());
        drop(guard);
        assert!(active.claim(id).is_some());
    }

    #[tokio::test]
    async fn word_of_an_older_attempt_does_not_stop_a_later_one() {
        let (active, id) = (ActiveRuns::default(), JobId::generate().run(1));
        let (_run, mut stopped) = active.enter(id, 2, RecoveredBy::DueScan);
        active.supersede(&id, 1);
        assert!(stopped.try_recv().is_err());
        active.supersede(&id, 2);
        assert_eq!(stopped.await, Ok(StopReason::Superseded));
    }

    #[tokio::test]
    async fn the_first_reason_to_stop_counts() {
        let (active, id) = (ActiveRuns::default(), JobId::generate().run(1));
        let (_run, stopped) = active.enter(id, 1, RecoveredBy::DueScan);
        active.stop(&id, StopReason::Requested);
        active.stop_all(StopReason::Shutdown);
        assert_eq!(stopped.await, Ok(StopReason::Requested));
    }
}
