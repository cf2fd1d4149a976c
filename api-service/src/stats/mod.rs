//! The system at a glance.

mod routes;
mod system;

pub use routes::configure;
pub use system::{FAMILIES, SystemMetrics};
