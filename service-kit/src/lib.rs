//! What both services are built on, and nothing about jobs: settings, logs, MongoDB with its
//! group commit and clock, and stopping.

pub mod budget;
pub mod clock;
pub mod common;
pub mod dead_letters;
pub mod faults;
pub mod group;
pub mod messages;
pub mod mongo;
pub mod outcome;
pub mod pace;
pub mod probe;
pub mod retention;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use budget::{ByteBudget, Reservation};
pub use clock::Clock;
pub use group::{GroupCommit, GroupLimits, Weigh};
pub use mongo::{Mongo, StoreError};
pub use pace::Pace;
