//! What attempts say while they are made: how far they are, which every replica hears by itself, and their logs, for which
//! their workers are asked.
//!
//! While they go on nothing is stored: what a handler logged last, and what a program wrote last, is kept with its attempt's end.

mod logs;
mod problems;
mod progress;
mod requests;
mod routes;

pub use logs::Logs;
pub use progress::Progresses;
pub use routes::configure;
