//! One line: an object with one member, whose name says what it is.

use std::str::FromStr;

use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    http::read::{
        FieldValue, Mistake, MistakeCode, Mistakes, Nested, Place, ReadFields, StringValue, read_json_object,
    },
    jobs::JobLine,
    schedules::{FiringLine, ScheduleLine},
};

/// What is exported, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Schedules, and the records of their firings.
    Schedules,
    /// Jobs, each with its latest run.
    Jobs,
}

/// The text names nothing that can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be schedules or jobs")]
pub(super) struct BadWhat;

impl FromStr for What {
    type Err = BadWhat;

    fn from_str(text: &str) -> Result<Self, BadWhat> {
        match text {
            "schedules" => Ok(Self::Schedules),
            "jobs" => Ok(Self::Jobs),
            _ => Err(BadWhat),
        }
    }
}

impl StringValue for What {}

/// What a line says.
#[derive(Debug)]
pub(super) enum Line {
    /// A schedule.
    Schedule(Box<ScheduleLine>),
    /// The record of a firing.
    Firing(Box<FiringLine>),
    /// A job.
    Job(Box<JobLine>),
    /// That the export is complete.
    End,
}

/// The members that a line may have: exactly one of them.
#[derive(Debug, ReadFields)]
struct Members {
    schedule: Option<Nested<ScheduleLine>>,
    firing: Option<Nested<FiringLine>>,
    job: Option<Nested<JobLine>>,
    end: Option<End>,
}

/// Whatever it says.
#[derive(Debug)]
struct End;

impl FieldValue for End {
    fn from_json(_: &RawValue) -> Result<Self, Mistake> {
        Ok(Self)
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Ok(Self)
    }
}

impl Line {
    /// Reads it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Mistakes> {
        match read_json_object(bytes)? {
            Members { schedule: Some(Nested(schedule)), firing: None, job: None, end: None } => {
                Ok(Self::Schedule(schedule))
            }
            Members { schedule: None, firing: Some(Nested(firing)), job: None, end: None } => {
                Ok(Self::Firing(firing))
            }
            Members { schedule: None, firing: None, job: Some(Nested(job)), end: None } => Ok(Self::Job(job)),
            Members { schedule: None, firing: None, job: None, end: Some(End) } => Ok(Self::End),
            _ => {
                let mut mistakes = Mistakes::default();
                let message = "must be an object with one member: schedule, firing, job or end";
                mistakes.add(Place::Body, "", Mistake::new(MistakeCode::WrongFormat, message));
                Err(mistakes)
            }
        }
    }
}
