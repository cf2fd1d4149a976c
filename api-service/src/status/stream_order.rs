//! Notices that `JOB_EVENTS` was set back to an older copy, by the messages that come from it: a store gives each
//! message a higher sequence than those before it, so one that is later but lower comes from another store.

use std::sync::{Mutex, PoisonError};

use async_nats::jetstream::Message;

use crate::outbox::StreamGeneration;

/// See the module.
#[derive(Debug)]
pub struct StreamOrder {
    highest: Mutex<Place>,
    generation: StreamGeneration,
}

/// A message's sequence, and when it was stored, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    sequence: u64,
    stored_ns: i128,
}

impl StreamOrder {
    /// Watches the order of what comes from the stream of this generation.
    #[must_use]
    pub fn new(generation: StreamGeneration) -> Self {
        Self { highest: Mutex::default(), generation }
    }

    /// Looks at the first and the last message of a batch.
    pub fn check(&self, batch: &[Message]) {
        let ends = batch.first().into_iter().chain(batch.last());
        for info in ends.filter_map(|message| message.info().ok()) {
            let place =
                Place { sequence: info.stream_sequence, stored_ns: info.published.unix_timestamp_nanos() };
            let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
            match follow(*highest, place) {
                Some(next) => {
                    *highest = next;
                    self.generation.saw(next.sequence);
                }
                None => {
                    *highest = place;
                    self.generation.contradict();
                }
            }
        }
    }
}

/// The higher of the two; none where they can not come from one store.
fn follow(highest: Place, next: Place) -> Option<Place> {
    if next.sequence > highest.sequence {
        return Some(next);
    }
    (next.stored_ns <= highest.stored_ns).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_later_but_lower_is_of_another_store() {
        let place = |sequence, stored_ns| Place { sequence, stored_ns };
        assert_eq!(follow(place(0, 0), place(5, 100)), Some(place(5, 100)));
        assert_eq!(follow(place(5, 100), place(6, 110)), Some(place(6, 110)));
        assert_eq!(follow(place(6, 110), place(5, 100)), Some(place(6, 110)), "delivered again");
        assert_eq!(follow(place(6, 110), place(6, 110)), Some(place(6, 110)), "the same again");
        assert_eq!(follow(place(6, 110), place(4, 120)), None);
        assert_eq!(follow(place(6, 110), place(6, 120)), None);
    }
}
