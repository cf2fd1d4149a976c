//! From the broker to a job's status: events are applied, and those who wait for an end are woken.

mod apply;
mod broadcasts;
mod events;
mod make_room;
mod stream_order;
mod unmatched;

pub use apply::StatusStore;
pub use broadcasts::Broadcasts;
pub use events::{Events, PACING};
pub use make_room::{AppliedBytes, MakeRoom};
pub use stream_order::StreamOrder;
pub use unmatched::UnmatchedEvents;
