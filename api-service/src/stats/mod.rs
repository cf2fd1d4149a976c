//! The system at a glance.

mod routes;

pub use routes::configure;
