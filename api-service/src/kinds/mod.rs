//! Kinds: what every worker can do.

mod routes;

pub use routes::{configure, describe};
