//! Jobs: what a client asked for, and how far it has come.

mod batch;
mod bulk;
mod canonical;
mod create;
mod document;
mod draft;
mod filter;
mod idempotency;
mod legacy;
mod lifecycle;
mod remains;
mod retention;
mod routes;
mod store;
mod view;

pub use create::Creator;
pub use document::{Announced, Duty, Generations, Job};
pub use draft::Draft;
pub use idempotency::IdempotencyKey;
pub use legacy::configure as configure_legacy;
pub use lifecycle::Lifecycle;
pub use retention::Retention;
pub use routes::configure;
pub use store::{Jobs, Note, OpenJob, Taken};
