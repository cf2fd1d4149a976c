//! Schedules: jobs that are created again and again.
//!
//! A firing is first a record, which one replica alone can store, and which holds the id of its job; then the job under that
//! id (`scheduler/`). So each firing makes one job, whoever dies, stands still or is asked twice.

mod definition;
mod errors;
mod filter;
mod firing;
mod firing_routes;
mod id;
mod model;
mod older;
mod plan;
mod problems;
mod requests;
mod routes;
mod rule;
mod scheduler;
mod service;
mod store;
mod template;
pub mod times;
mod transfer;
mod view;

pub use definition::{Change, Definition};
pub use errors::ScheduleError;
pub use firing::{Firing, FiringReason, FiringStatus, Origin};
pub use id::{BadScheduleId, BadUid, ScheduleId, Uid};
pub use model::{NotReadable, Schedule, Stored};
pub use older::Older;
pub use problems::PROBLEM_TYPES;
pub(crate) use problems::SCHEDULE_NOT_FOUND;
pub use routes::configure;
pub use rule::{BadOverlap, Overlap, Rule};
pub use scheduler::Scheduler;
pub use service::Schedules;
pub use store::{FIRINGS, SCHEDULES, ScheduleStore};
pub use template::Template;
pub(crate) use transfer::{FiringLine, ScheduleImporter, ScheduleLine, firing_line, schedule_line};
