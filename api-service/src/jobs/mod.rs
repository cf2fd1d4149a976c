//! Jobs: what a client asked for, and how far it has come.

mod create;
mod document;
mod legacy;
mod routes;
mod store;
mod view;

pub use create::{Creator, Draft};
pub use document::{Announcement, Duty, Job};
pub use legacy::configure as configure_legacy;
pub use routes::configure;
pub use store::{Applied, Inserted, Jobs};
