//! What attempts say while they are made: how far they are, which every replica hears by itself, and their logs, for which
//! their workers are asked.
//!
//! Nothing is stored: what a program wrote is kept with its attempt's end.

mod logs;
mod problems;
mod progress;
mod requests;
mod routes;

pub use logs::Logs;
pub use progress::Progresses;
pub use routes::configure;
