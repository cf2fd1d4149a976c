//! Schedules and their firings as lines that another system, or this one later, can take in again.
//!
//! A schedule comes with how far its times are decided, and its firings with it: so whoever takes both in goes on where the
//! export was made. Nothing fires twice, and no `max_firings` starts anew.

mod export;
mod import;
mod past;

pub(crate) use export::{firing_line, schedule_line};
pub(crate) use import::ScheduleImporter;
pub(super) use past::PastSchedule;
pub(crate) use past::{FiringLine, ScheduleLine};
