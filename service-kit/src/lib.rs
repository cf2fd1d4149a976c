//! What every service is built on, and nothing about jobs: settings, logs, health, background tasks, MongoDB, NATS,
//! batches, and stopping.

pub mod background;
pub mod batch;
pub mod byte_budget;
pub mod check;
pub mod clock;
pub mod dead_letters;
pub mod failpoints;
pub mod guarded_http;
pub mod health;
pub mod metrics;
pub mod mongo;
pub mod nats;
pub mod process;
pub mod retention;
pub mod retry;
pub mod settings;
pub mod telemetry;

pub use background::BackgroundTasks;
pub use batch::{GroupCommit, GroupLimits, Weigh};
pub use byte_budget::{ByteBudget, Reservation};
pub use clock::Clock;
pub use health::Health;
pub use mongo::{Mongo, StoreError};
pub use nats::Broker;
