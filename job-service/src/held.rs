//! The runs that this worker is claiming or running right now, and how to stop one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use shared_events::RunId;
use tokio::sync::oneshot;

use crate::carrier::Carrier;

/// Why a running attempt is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The client asked for it.
    Requested,
    /// Somebody else owns the run.
    Superseded,
    /// This worker is shutting down.
    Shutdown,
}

/// See the module. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Mutex<HashMap<RunId, Entry>>,
    claiming: Mutex<HashSet<RunId>>,
}

/// Nobody else in this process claims the run as long as this lives. Two claims of one worker look
/// alike in the ledger, so both would take the run for theirs.
#[derive(Debug)]
pub struct Claiming {
    held: Held,
    id: RunId,
}

#[derive(Debug)]
struct Entry {
    attempt: u32,
    carrier: Option<Carrier>,
    stop: Option<oneshot::Sender<Stop>>,
}

/// A run is held as long as this lives.
#[derive(Debug)]
pub struct Hold {
    held: Held,
    id: RunId,
    attempt: u32,
}

impl Held {
    /// Begins to claim a run; none where this worker is at it already.
    #[must_use]
    pub fn claiming(&self, id: RunId) -> Option<Claiming> {
        let mut claiming = self.0.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        claiming.insert(id).then(|| Claiming { held: self.clone(), id })
    }

    /// Holds a run, and what carries it, for as long as the guard lives; the receiver hears when to stop.
    #[must_use]
    pub fn enter(
        &self,
        id: RunId,
        attempt: u32,
        carrier: Option<Carrier>,
    ) -> (Hold, oneshot::Receiver<Stop>) {
        let (stop, stopped) = oneshot::channel();
        self.with(|held| held.insert(id, Entry { attempt, carrier, stop: Some(stop) }));
        (Hold { held: self.clone(), id, attempt }, stopped)
    }

    /// Whether this worker is running it.
    #[must_use]
    pub fn contains(&self, id: &RunId) -> bool {
        self.with(|held| held.contains_key(id))
    }

    /// All of them, with their attempts.
    #[must_use]
    pub fn all(&self) -> Vec<(RunId, u32)> {
        self.with(|held| held.iter().map(|(id, entry)| (*id, entry.attempt)).collect())
    }

    /// Whether an announcement carries this attempt.
    #[must_use]
    pub fn is_carried(&self, id: &RunId, attempt: u32) -> bool {
        self.with(|held| {
            held.get(id).is_some_and(|entry| entry.attempt == attempt && entry.carrier.is_some())
        })
    }

    /// What carries these attempts: they are in the ledger's care from here on.
    #[must_use]
    pub fn carriers(&self, attempts: &[(RunId, u32)]) -> Vec<Carrier> {
        self.with(|held| {
            let entry = |(id, attempt): &(RunId, u32)| {
                held.get_mut(id).filter(|entry| entry.attempt == *attempt)?.carrier.take()
            };
            attempts.iter().filter_map(entry).collect()
        })
    }

    /// Tells an attempt to stop, if it runs here and was not told before.
    pub fn stop(&self, id: &RunId, why: Stop) {
        let stop = self.with(|held| held.get_mut(id).and_then(|entry| entry.stop.take()));
        if let Some(stop) = stop {
            // An attempt that has just ended needs no telling.
            let _ = stop.send(why);
        }
    }

    /// Tells an attempt that somebody else owns its run; a later attempt that runs here is not meant.
    pub fn supersede(&self, id: &RunId, attempt: u32) {
        let runs = self.with(|held| held.get(id).is_some_and(|entry| entry.attempt == attempt));
        if runs {
            self.stop(id, Stop::Superseded);
        }
    }

    /// Tells all of them to stop.
    pub fn stop_all(&self, why: Stop) {
        for (id, _) in self.all() {
            self.stop(&id, why);
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<RunId, Entry>) -> T) -> T {
        act(&mut self.0.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hold {
    /// What carries the run, unless it is in the ledger's care by now; whoever has it decides when it is acked.
    #[must_use]
    pub fn take_carrier(&self) -> Option<Carrier> {
        self.held.carriers(&[(self.id, self.attempt)]).pop()
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        self.held.0.claiming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.with(|held| {
            // A later attempt of the same run may have taken the place.
            if held.get(&self.id).is_some_and(|entry| entry.attempt == self.attempt) {
                held.remove(&self.id);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn a_run_is_held_until_its_guard_goes() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let (hold, _stopped) = held.enter(id, 1, None);
        assert!(held.contains(&id));
        drop(hold);
        assert!(!held.contains(&id));
    }

    #[test]
    fn the_guard_of_an_older_attempt_does_not_let_go_of_a_later_one() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let (first, _) = held.enter(id, 1, None);
        let (_second, _stopped) = held.enter(id, 2, None);
        drop(first);
        assert_eq!(held.all(), [(id, 2)]);
    }

    #[test]
    fn a_run_is_claimed_by_one_at_a_time() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let claiming = held.claiming(id);
        assert!(claiming.is_some() && held.claiming(id).is_none());
        drop(claiming);
        assert!(held.claiming(id).is_some());
    }

    #[tokio::test]
    async fn news_of_an_older_attempt_does_not_stop_a_later_one() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let (_hold, mut stopped) = held.enter(id, 2, None);
        held.supersede(&id, 1);
        assert!(stopped.try_recv().is_err());
        held.supersede(&id, 2);
        assert_eq!(stopped.await, Ok(Stop::Superseded));
    }

    #[tokio::test]
    async fn the_first_reason_to_stop_counts() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let (_hold, stopped) = held.enter(id, 1, None);
        held.stop(&id, Stop::Requested);
        held.stop_all(Stop::Shutdown);
        assert_eq!(stopped.await, Ok(Stop::Requested));
    }
}
