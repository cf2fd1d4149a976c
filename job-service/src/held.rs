//! The runs that this worker is running right now, and how to stop one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared_events::RunId;
use tokio::sync::oneshot;

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
pub struct Held(Arc<Mutex<HashMap<RunId, Entry>>>);

#[derive(Debug)]
struct Entry {
    attempt: u32,
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
    /// Holds a run for as long as the guard lives; the receiver hears when to stop.
    #[must_use]
    pub fn enter(&self, id: RunId, attempt: u32) -> (Hold, oneshot::Receiver<Stop>) {
        let (stop, stopped) = oneshot::channel();
        self.with(|held| held.insert(id, Entry { attempt, stop: Some(stop) }));
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

    /// Tells an attempt to stop, if it runs here and was not told before.
    pub fn stop(&self, id: &RunId, why: Stop) {
        let stop = self.with(|held| held.get_mut(id).and_then(|entry| entry.stop.take()));
        if let Some(stop) = stop {
            // An attempt that has just ended needs no telling.
            let _ = stop.send(why);
        }
    }

    /// Tells all of them to stop.
    pub fn stop_all(&self, why: Stop) {
        for (id, _) in self.all() {
            self.stop(&id, why);
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<RunId, Entry>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
        let (hold, _stopped) = held.enter(id, 1);
        assert!(held.contains(&id));
        drop(hold);
        assert!(!held.contains(&id));
    }

    #[test]
    fn the_guard_of_an_older_attempt_does_not_let_go_of_a_later_one() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let (first, _) = held.enter(id, 1);
        let (_second, _stopped) = held.enter(id, 2);
        drop(first);
        assert_eq!(held.all(), [(id, 2)]);
    }

    #[tokio::test]
    async fn the_first_reason_to_stop_counts() {
        let (held, id) = (Held::default(), JobId::generate().run(1));
        let (_hold, stopped) = held.enter(id, 1);
        held.stop(&id, Stop::Requested);
        held.stop_all(Stop::Shutdown);
        assert_eq!(stopped.await, Ok(Stop::Requested));
    }
}
