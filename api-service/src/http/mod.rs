//! HTTP: serving it, what every request has, and reading bodies.

mod body;
mod context;
mod health;
mod query;
mod server;

pub use body::{Fields, read_body, read_fields, read_optional_fields};
pub use context::Context;
pub use query::Query;
pub use server::{Services, get_or_head, method_not_allowed, serve};
