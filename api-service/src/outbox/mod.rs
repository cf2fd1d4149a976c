//! The outbox: from a mark in a job's document to the broker's acknowledgement, and what has it sent again that the
//! broker lost.
//!
//! A job is stored with a mark; [`Relay`] publishes what the mark asks for, at once or by a scan; [`Unmarking`] takes the
//! mark off. [`Reconciler`] compares with the broker's streams. A job whose time is to come is stored without a mark, and
//! gets one when it has come (`promotion.rs`).

mod backlog;
mod open_jobs;
mod promotion;
mod queue_shares;
pub mod reconciler;
mod relay;
mod relay_room;
mod store;
mod stream_generation;
mod stream_states;
mod timed;
mod unmarking;

pub use backlog::Backlog;
pub use reconciler::Reconciler;
pub use relay::{Relay, RelayTiming};
pub use store::OutboxStore;
pub use stream_generation::{StreamGeneration, StreamGenerations, StreamState};
pub use stream_states::{STATE, StreamStates};
pub use unmarking::Unmarking;
