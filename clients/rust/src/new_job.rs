//! What a job is created from.

use serde::Serialize;
use shared_events::{JsonText, Kind, Priority, Queue, RetryPauses, Timestamp};

use crate::Error;

/// A job to be created. What is not said has the service's default.
#[derive(Debug, Clone, Serialize)]
pub struct NewJob {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<JsonText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_within_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryPauses>,
}

impl NewJob {
    /// A job of this kind.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the text is no kind's name.
    pub fn new(kind: &str) -> Result<Self, Error> {
        let kind = kind.parse().map_err(|error| Error::Invalid(format!("kind {error}")))?;
        Ok(Self {
            kind,
            payload: None,
            queue: None,
            priority: None,
            object_id: None,
            timeout_s: None,
            max_attempts: None,
            keep_s: None,
            run_at: None,
            delay_s: None,
            start_within_s: None,
            retry: None,
        })
    }

    /// The handler's input: a JSON object.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the value has no JSON form.
    pub fn payload(self, payload: &impl Serialize) -> Result<Self, Error> {
        let payload = JsonText::of(payload).map_err(|error| Error::Invalid(format!("payload {error}")))?;
        Ok(Self { payload: Some(payload), ..self })
    }

    /// Where to send it.
    #[must_use]
    pub fn queue(self, queue: Queue) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority: Some(priority), ..self }
    }

    /// What it is about.
    #[must_use]
    pub fn object_id(self, object_id: impl Into<String>) -> Self {
        Self { object_id: Some(object_id.into()), ..self }
    }

    /// How long one attempt may take, in seconds; 1 to 86,400.
    #[must_use]
    pub fn timeout_s(self, timeout_s: u32) -> Self {
        Self { timeout_s: Some(timeout_s), ..self }
    }

    /// How many attempts may count; 1 to 100.
    #[must_use]
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        Self { max_attempts: Some(max_attempts), ..self }
    }

    /// How long it is kept after its end, in seconds; 1 to 31,536,000.
    #[must_use]
    pub fn keep_s(self, keep_s: u32) -> Self {
        Self { keep_s: Some(keep_s), ..self }
    }

    /// When to run it, up to a year from now; a time that is over means at once.
    #[must_use]
    pub fn run_at(self, run_at: Timestamp) -> Self {
        Self { run_at: Some(run_at), delay_s: None, ..self }
    }

    /// After how many seconds to run it, up to 31,536,000.
    #[must_use]
    pub fn delay_s(self, delay_s: u32) -> Self {
        Self { delay_s: Some(delay_s), run_at: None, ..self }
    }

    /// Within how many seconds, from its time or else from its creation, an attempt is to begin; 1 to 31,536,000.
    #[must_use]
    pub fn start_within_s(self, start_within_s: u32) -> Self {
        Self { start_within_s: Some(start_within_s), ..self }
    }

    /// How long to wait between attempts.
    #[must_use]
    pub fn retry(self, retry: RetryPauses) -> Self {
        Self { retry: Some(retry), ..self }
    }
}
