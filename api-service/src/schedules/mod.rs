//! Schedules: jobs that are created again and again.

pub mod times;
