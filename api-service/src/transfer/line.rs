//! One line: an object with one member, whose name says what it is.

use std::str::FromStr;

use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    http::read::{
        FieldValue, Mistake, MistakeCode, Mistakes, ReadFields, StringValue, object_field, read_json_object,
    },
    jobs::JobLine,
};

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Jobs, each with its latest run.
    Jobs,
}

/// The text names nothing that can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be jobs")]
pub(super) struct BadWhat;

impl FromStr for What {
    type Err = BadWhat;

    fn from_str(text: &str) -> Result<Self, BadWhat> {
        match text {
            "jobs" => Ok(Self::Jobs),
            _ => Err(BadWhat),
        }
    }
}

impl StringValue for What {}

/// What a line says.
#[derive(Debug)]
pub(super) enum Line {
    /// A job.
    Job(Box<JobLine>),
    /// That the export is complete.
    End,
}

/// The members that a line may have: exactly one of them.
#[derive(Debug, ReadFields)]
struct Members {
    job: Option<Job>,
    end: Option<End>,
}

#[derive(Debug)]
struct Job(Box<JobLine>);

/// Whatever it says.
#[derive(Debug)]
struct End;

impl FieldValue for Job {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let wrong = Mistake::new(MistakeCode::WrongType, "must be a job as an export writes it");
        Self::of_field(json, "job", &mut Mistakes::default()).ok_or(wrong)
    }

    fn of_field(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        object_field(json, name, mistakes).map(|job| Self(Box::new(job)))
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "is an object"))
    }
}

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
        let Members { job, end } = read_json_object(bytes)?;
        match (job, end) {
            (Some(Job(job)), None) => Ok(Self::Job(job)),
            (None, Some(End)) => Ok(Self::End),
            _ => {
                let mut mistakes = Mistakes::default();
                let message = "must be an object with one member: job or end";
                let mistake = Mistake::new(MistakeCode::WrongFormat, message);
                mistakes.add(crate::http::read::Place::Body, "", mistake);
                Err(mistakes)
            }
        }
    }
}
