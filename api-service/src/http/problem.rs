//! What a client is told when something is wrong: RFC 9457 `application/problem+json`.
//!
//! Routes return [`Problem`]. What every route can meet is here; each domain makes problems of its own errors in its
//! `problems.rs`. Nothing becomes a 500.

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

/// A problem detail object, with a stable `code` for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    problem_type: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "is_zero")]
    errors_omitted: usize,
    /// Members of the problem's own (RFC 9457, section 3.2).
    #[serde(flatten)]
    members: BTreeMap<&'static str, String>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    #[serde(skip)]
    allow: Option<&'static str>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, such as `payload.min_s`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl FieldError {
    /// An error of this field; a name that is longer than any that there is, is cut.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut field = field.into();
        if field.len() > MOST_OF_A_NAME {
            field.truncate(field.floor_char_boundary(MOST_OF_A_NAME));
            field.push('…');
        }
        Self { field, message: message.into() }
    }
}

/// The most errors that one problem names.
const MOST_ERRORS: usize = 100;

/// The most bytes of a field's name that are repeated to the client.
const MOST_OF_A_NAME: usize = 128;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with this stable code; domains make their own.
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self {
            problem_type: "about:blank",
            title,
            status,
            code,
            detail: None,
            errors: Vec::new(),
            errors_omitted: 0,
            members: BTreeMap::new(),
            retry_after_s: None,
            allow: None,
        }
    }

    /// 400: the body is not JSON, or not an object.
    pub fn malformed_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_body", "The body is not readable").detail(detail)
    }

    /// 422: fields have values that they must not have.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self::invalid_and_more(errors, 0)
    }

    /// The same, where so many further errors were not even kept. The first hundred are named, the others counted.
    #[must_use]
    pub fn invalid_and_more(mut errors: Vec<FieldError>, not_kept: usize) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", "A field is not valid");
        problem.errors_omitted = errors.len().saturating_sub(MOST_ERRORS) + not_kept;
        errors.truncate(MOST_ERRORS);
        problem.detail = errors.first().map(|FieldError { field, message }| match problem.errors_omitted {
            0 => format!("{field} {message}"),
            omitted => format!("{field} {message}; {omitted} errors are not named"),
        });
        problem.errors = errors;
        problem
    }

    /// 400: a query parameter or header has a value that it must not have.
    #[must_use]
    pub fn bad_parameter(error: FieldError) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", "A parameter is not valid");
        problem.detail = Some(format!("{} {}", error.field, error.message));
        problem.errors = vec![error];
        problem
    }

    /// 403: a web page elsewhere has made a browser send this.
    #[must_use]
    pub fn cross_site() -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross_site", "Pages of other sites may not change anything here")
            .detail("the origin is neither this host's nor among CORS_ORIGINS")
    }

    /// 421: the host that was asked for is not one of this service's.
    #[must_use]
    pub const fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            "The request's host is not one that is served here",
        )
    }

    /// 404: there is nothing at this path.
    #[must_use]
    pub const fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "path_not_found", "There is nothing at this path")
    }

    /// 405: `allow` lists the methods that there are.
    #[must_use]
    pub const fn no_method(allow: &'static str) -> Self {
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "The path does not take this method",
        );
        problem.allow = Some(allow);
        problem
    }

    /// 408: the body did not arrive in time.
    #[must_use]
    pub const fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_body", "The body did not arrive in time")
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large")
            .detail(format!("at most {limit} bytes are taken"))
    }

    /// 415: the body is not declared as JSON.
    #[must_use]
    pub const fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The content type must be application/json",
        )
    }

    /// 503: nothing was stored as far as is known; try again.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service can not do this now")
            .detail(detail)
            .retry_after(2)
    }

    /// 503: the job is stored in a way that only a newer version can read; another replica may be one.
    #[must_use]
    pub const fn newer_version() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "newer_version",
            "A newer version of the service has changed the job, and this one can not read it",
        )
        .retry_after(2)
    }

    /// The HTTP status, as a number.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
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
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail.as_deref().unwrap_or(self.title))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        answer.content_type("application/problem+json");
        if let Some(seconds) = self.retry_after_s {
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = self.allow {
            answer.insert_header((header::ALLOW, HeaderValue::from_static(methods)));
        }
        answer.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Unreadable(_)) {
            // Said in the log where it was read.
            return Self::newer_version();
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
