//! HTTP: serving it, what every request has, reading requests, and the document that describes them.

pub mod answer;
mod authority;
mod body;
mod context;
mod document;
pub mod etag;
pub mod freshness;
mod health;
mod negotiation;
pub mod problem;
pub mod read;
mod request_span;
mod rest;
pub mod room;
mod same_site;
mod server;

pub use authority::{AllowedHosts, AllowedOrigins};
pub use body::read_body;
pub use context::Context;
pub use document::{document, to_json};
pub(crate) use problem::route_problems;
pub use problem::{Problem, ProblemType, add_responses};
pub use read::Mistakes;
pub use same_site::Allowed;
pub use server::{ServerSettings, serve};
