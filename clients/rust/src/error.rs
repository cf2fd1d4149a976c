//! What can go wrong.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// Why there is no answer that is wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service has refused it.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// There was no answer, or not all of it; what was asked for may have been done.
    #[error("no answer from the service")]
    NoAnswer(#[from] reqwest::Error),
    /// The answer is none that this client can read.
    #[error("an answer could not be read: {0}")]
    Unreadable(String),
    /// What is asked for is nothing that can be sent.
    #[error("not a valid request: {0}")]
    Invalid(String),
}

impl Error {
    /// The problem's stable code, where the service has refused it.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            Self::NoAnswer(_) | Self::Unreadable(_) | Self::Invalid(_) => None,
        }
    }
}

/// What the service says is wrong (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The page about this type of problem, on the service's host.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// What it is, in a line.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The type's stable name, for programs.
    pub code: String,
    /// What is wrong in this case, for people.
    pub detail: Option<String>,
    /// What is wrong with the request, field by field: the first hundred.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// Members of the type's own, such as `job_id`.
    #[serde(flatten)]
    pub members: BTreeMap<String, serde_json::Value>,
    /// After how many seconds to try again, where the service says so.
    #[serde(skip)]
    pub retry_after_s: Option<u64>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FieldError {
    /// Where it is: `path`, `query`, `header` or `body`.
    #[serde(rename = "in")]
    pub place: String,
    /// The field, such as `payload.min_s`.
    pub field: String,
    /// What is wrong with it, for people.
    pub message: String,
    /// What is wrong with it, for programs.
    pub code: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail.as_deref().unwrap_or(&self.title);
        write!(f, "{} ({}): {detail}", self.code, self.status)
    }
}
