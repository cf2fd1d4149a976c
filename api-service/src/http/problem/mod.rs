//! What a client is told when something is wrong: RFC 9457 `application/problem+json`.
//!
//! Routes return [`Problem`]. Each is of a [`ProblemType`], which stands once, in a table: what every route can meet in
//! `types.rs`, what a domain can in its `problems.rs`. The documentation and the pages behind `type` are made of the same
//! tables. Nothing becomes a 500.

mod pages;
mod responses;
pub mod types;

use std::{collections::BTreeMap, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;
use service_kit::StoreError;
use utoipa::ToSchema;

use super::read::{FieldError, Mistakes, Place};

pub use pages::ProblemTypes;
pub(super) use pages::configure;
pub use responses::add_responses;
pub(super) use responses::example;
pub(crate) use responses::route_problems;

/// The content type of all problems.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A type of problem, as clients meet it.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// Its stable name, for programs.
    pub code: &'static str,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// What it is, in a line.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What the client can do about it.
    pub remedy: &'static str,
}

impl ProblemType {
    /// The URI reference that names it: a page of this service (RFC 9457, section 3.1.1).
    #[must_use]
    pub fn uri(&self) -> String {
        format!("/problems/{}", self.page())
    }

    /// The last segment of its page's path.
    #[must_use]
    pub fn page(&self) -> String {
        self.code.replace('_', "-")
    }
}

/// A problem that a request met.
#[derive(Debug, Clone)]
pub struct Problem {
    problem_type: &'static ProblemType,
    detail: Option<String>,
    errors: Vec<FieldError>,
    errors_omitted: usize,
    members: BTreeMap<&'static str, String>,
    retry_after_s: Option<u64>,
    allow: Option<String>,
}

/// What went wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView<'a> {
    /// The page about this type of problem, on this host.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/invalid-field")]
    problem_type: String,
    /// What it is, in a line.
    #[schema(example = "A field is not valid")]
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    status: u16,
    /// The type's stable name, for programs.
    #[schema(example = "invalid_field")]
    code: &'a str,
    /// What is wrong in this case, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// What is wrong with the request, field by field: the first hundred.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// How many more errors there are.
    #[serde(skip_serializing_if = "is_zero")]
    errors_omitted: usize,
    /// Members of the type's own (RFC 9457, section 3.2), such as `job_id`.
    #[serde(flatten)]
    members: &'a BTreeMap<&'static str, String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Problem {
    /// A problem of this type.
    #[must_use]
    pub const fn new(problem_type: &'static ProblemType) -> Self {
        Self {
            problem_type,
            detail: None,
            errors: Vec::new(),
            errors_omitted: 0,
            members: BTreeMap::new(),
            retry_after_s: None,
            allow: None,
        }
    }

    /// 404: there is nothing at this path.
    #[must_use]
    pub const fn no_path() -> Self {
        Self::new(&types::PATH_NOT_FOUND)
    }

    /// 405: `allow` lists the methods that there are.
    #[must_use]
    pub fn no_method(allow: String) -> Self {
        Self { allow: Some(allow), ..Self::new(&types::METHOD_NOT_ALLOWED) }
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(&types::BODY_TOO_LARGE).detail(format!("at most {limit} bytes are taken"))
    }

    /// 503: nothing was stored as far as is known; try again.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(&types::UNAVAILABLE).detail(detail).retry_after(2)
    }

    /// The HTTP status, as a number.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.problem_type.status
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.problem_type.code
    }

    /// The same, with what is wrong in this case.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same, with a member of its own.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl fmt::Display) -> Self {
        self.members.insert(member, value.to_string());
        self
    }

    /// The same, with the time after which the client may try again, in seconds.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same, because of these mistakes. The first hundred are named, the others counted.
    #[must_use]
    pub fn because(mut self, mistakes: Mistakes) -> Self {
        let (errors, not_kept, malformed) = mistakes.into_parts();
        self.errors_omitted = not_kept;
        let first = errors.first().map(|error| match self.errors_omitted {
            0 => format!("{} {}", error.field, error.message),
            omitted => format!("{} {}; {omitted} errors are not named", error.field, error.message),
        });
        self.detail = malformed.or(first);
        self.errors = errors;
        self
    }

    fn view(&self) -> ProblemView<'_> {
        ProblemView {
            problem_type: self.problem_type.uri(),
            title: self.problem_type.title,
            status: self.problem_type.status,
            code: self.problem_type.code,
            detail: self.detail.as_deref(),
            errors: &self.errors,
            errors_omitted: self.errors_omitted,
            members: &self.members,
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

/// A body that can not be read at all comes first, then parameters and headers (400), then the body's fields (422).
impl From<Mistakes> for Problem {
    fn from(mistakes: Mistakes) -> Self {
        let problem_type = if mistakes.is_malformed() {
            &types::MALFORMED_BODY
        } else if mistakes.has(Place::Query) || mistakes.has(Place::Header) {
            &types::INVALID_PARAMETER
        } else {
            &types::INVALID_FIELD
        };
        Self::new(problem_type).because(mistakes)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.detail.as_deref().unwrap_or(self.problem_type.title))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        answer.content_type(CONTENT_TYPE);
        if let Some(seconds) = self.retry_after_s {
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            answer.insert_header((header::ALLOW, methods));
        }
        answer.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Unreadable(_)) {
            // Said in the log where it was read.
            return Self::new(&types::NEWER_VERSION).retry_after(2);
        }
        tracing::warn!(
            error = service_kit::telemetry::chain(&error),
            "request not served: the database did not do it"
        );
        Self::unavailable(match error {
            StoreError::Overloaded => "too many requests are waiting for the database",
            StoreError::Unknown => {
                "the database did not answer in time; what was asked may or may not have been done"
            }
            StoreError::Database(_) | StoreError::Refused { .. } | StoreError::Unreadable(_) => {
                "the database could not do it"
            }
        })
    }
}
