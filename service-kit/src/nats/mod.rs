//! NATS: connecting, publishing with acknowledgement, reading streams in batches, and keeping the streams there.

pub mod acked_leftovers;
mod broker;
mod client;
pub mod consume;
pub mod messages;
mod publish;
pub mod streams;

pub use broker::Broker;
pub use client::{ConnectError, Connection, Nats, NatsSettings};
pub use publish::{PublishError, Stored};
