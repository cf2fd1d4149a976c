//! NATS: connecting, publishing with acknowledgement, reading streams in batches, and keeping the streams there.

mod broker;
mod client;
pub mod consume;
pub mod messages;
mod publish;
pub mod streams;
pub mod work_queues;

pub use broker::Broker;
pub use client::{ConnectError, Connection, Nats, NatsSettings};
pub use publish::{PublishError, Stored};
