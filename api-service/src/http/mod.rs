//! HTTP: serving it, what every request has, and reading bodies.

pub mod answer;
mod authority;
mod body;
mod context;
mod fields;
mod health;
mod problem;
mod query;
mod rest;
pub mod room;
mod same_site;
mod server;

pub use authority::{AllowedHosts, AllowedOrigins};
pub use body::{Body, expect_no_fields, read_body, read_json, read_optional_json};
pub use context::Context;
pub use fields::Fields;
pub use problem::{FieldError, Problem};
pub use query::Query;
pub use same_site::Allowed;
pub use server::{ServerSettings, get_or_head, method_not_allowed, serve};
