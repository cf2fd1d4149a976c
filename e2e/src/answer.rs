//! An HTTP answer, read to its end.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::JobView;

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    /// Method and path, for a failure's message.
    pub(crate) asked: String,
    /// The status code.
    pub status: u16,
    pub(crate) headers: HeaderMap,
    /// The body.
    pub body: String,
}

/// RFC 9457, as far as Hasty uses it.
#[derive(Debug, Deserialize)]
pub struct Problem {
    /// For programs.
    pub code: String,
    /// For people, in general.
    pub title: String,
    /// The status code again.
    pub status: u16,
    /// For people, in particular.
    pub detail: Option<String>,
    /// Which fields are wrong.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// The job that is in the way.
    pub job_id: Option<String>,
}

/// What is wrong with one field.
#[derive(Debug, Deserialize)]
pub struct FieldError {
    /// Such as `payload.min_s`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Answer {
    /// This answer, if it has this status.
    #[track_caller]
    #[allow(
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        reason = "most tests need only the status"
    )]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} was answered with {}: {}", self.asked, self.status, self.body);
        self
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The seconds of `Retry-After`.
    #[track_caller]
    #[must_use]
    pub fn retry_after_s(&self) -> u64 {
        let seconds = self.header("retry-after").and_then(|text| text.parse().ok());
        seconds.unwrap_or_else(|| panic!("{}: no Retry-After in {:?}", self.asked, self.headers))
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        self.read()
    }

    /// The body as a job.
    #[track_caller]
    #[must_use]
    pub fn job(&self) -> JobView {
        self.read()
    }

    /// The body as problem details, which are declared as such and agree with the status.
    #[track_caller]
    #[must_use]
    pub fn problem(&self) -> Problem {
        let said = format!("{} was answered with {}: {}", self.asked, self.status, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{said}");
        let problem: Problem = self.read();
        assert_eq!(problem.status, self.status, "{said}");
        assert!(!problem.code.is_empty() && !problem.title.is_empty(), "{said}");
        problem
    }

    /// The body as anything else.
    #[track_caller]
    #[must_use]
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in {}", self.asked, self.body))
    }
}

impl Problem {
    /// The names of the fields that are wrong.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        self.errors.iter().map(|error| error.field.as_str()).collect()
    }
}
