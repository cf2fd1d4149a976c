//! What a client asks for.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// The body of `POST /v1/jobs`; what is not set is not sent.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct NewJob(Map<String, Value>);

impl NewJob {
    /// A job of any kind.
    #[must_use]
    pub fn of_kind(kind: &str) -> Self {
        Self(Map::new()).with("kind", kind)
    }

    /// Ends at once.
    #[must_use]
    pub fn noop() -> Self {
        Self::of_kind("noop")
    }

    /// Sleeps so long.
    #[must_use]
    pub fn sleep(seconds: f64) -> Self {
        Self::of_kind("sleep").payload(json!({ "min_s": seconds, "max_s": seconds }))
    }

    /// Shuffles a text without waiting.
    #[must_use]
    pub fn shuffle(text: &str) -> Self {
        Self::of_kind("shuffle").payload(json!({ "text": text, "pause_s": 0 }))
    }

    /// Misbehaves as told: `done`, `retry`, `fail`, `panic`, one for each attempt. Needs `WORKER_FAULTS`.
    #[must_use]
    pub fn fault(attempts: &[&str]) -> Self {
        Self::of_kind("fault").payload(json!({ "attempts": attempts, "pause_s": 0.05 }))
    }

    /// Its first attempt never ends by itself, the next is done at once. Needs `WORKER_FAULTS`.
    #[must_use]
    pub fn hangs_once() -> Self {
        Self::fault(&["hang", "done"]).timeout_s(3600)
    }

    /// The handler's input.
    #[must_use]
    pub fn payload(self, payload: Value) -> Self {
        self.with("payload", payload)
    }

    /// Where to send it.
    #[must_use]
    pub fn queue(self, queue: &str) -> Self {
        self.with("queue", queue)
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(self, priority: &str) -> Self {
        self.with("priority", priority)
    }

    /// What it is about.
    #[must_use]
    pub fn object(self, object_id: &str) -> Self {
        self.with("object_id", object_id)
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout_s(self, seconds: u32) -> Self {
        self.with("timeout_s", seconds)
    }

    /// How many attempts may be charged.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.with("max_attempts", attempts)
    }

    /// Any field, also a wrong one.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }
}
