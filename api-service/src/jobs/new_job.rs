//! A job that a client asks for: from the fields of a request to a document.

use bson::{DateTime, Uuid};
use shared_events::{JsonText, Kind, Limits, Position, Priority, Queue, Status, TraceContext, payloads};

use super::{
    Job, NextAction,
    idempotency::{IdempotencyKey, request_hash},
    model::position,
};
use crate::http::{FieldError, Fields, Problem};

/// The longest `object_id`, in bytes.
pub(crate) const MAX_OBJECT_ID: usize = 256;

/// A job that a client asks for, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Who is to do the work.
    pub kind: Kind,
    /// The handler's input.
    pub payload: JsonText,
    /// Where to send it.
    pub queue: Queue,
    /// How urgent it is.
    pub priority: Priority,
    /// What it is about.
    pub object_id: Option<String>,
    /// The run's limits.
    pub limits: Limits,
}

impl NewJob {
    /// A job of which nothing else is said.
    #[must_use]
    pub fn new(kind: Kind, payload: JsonText) -> Self {
        let (queue, priority, limits) = (Queue::default(), Priority::default(), Limits::default());
        Self { kind, payload, queue, priority, object_id: None, limits }
    }

    /// Reads a request's fields.
    ///
    /// # Errors
    /// 422 that names every field that is wrong.
    pub fn read(mut fields: Fields<'_>) -> Result<Self, Problem> {
        let kind = fields.required::<Kind>("kind");
        let payload = fields.raw("payload").unwrap_or_else(JsonText::empty_object);
        let queue = fields.parsed::<Queue>("queue").unwrap_or_default();
        let priority = fields.parsed::<Priority>("priority").unwrap_or_default();
        let object_id = fields.text("object_id", 1..=MAX_OBJECT_ID);
        let defaults = Limits::default();
        let limits = Limits {
            timeout_s: fields.number("timeout_s", 1..=Limits::MAX_TIMEOUT_S).unwrap_or(defaults.timeout_s),
            max_attempts: fields
                .number("max_attempts", 1..=Limits::MAX_ATTEMPTS)
                .unwrap_or(defaults.max_attempts),
        };
        let payload = match payload.object().and_then(JsonText::within_limits) {
            Ok(payload) => Some(payload),
            Err(error) => {
                fields.wrong("payload", error.to_string());
                None
            }
        };
        if let (Some(kind), Some(payload)) = (&kind, &payload)
            && let Err(error) = payloads::check(kind, payload)
        {
            fields.wrong(&error.field, error.message);
        }
        fields.finish()?;
        match (kind, payload) {
            (Some(kind), Some(payload)) => Ok(Self { kind, payload, queue, priority, object_id, limits }),
            _ => Err(Problem::invalid(vec![FieldError::new("kind", "is required")])),
        }
    }

    /// The document of a new job, with its outbox `mark` inside.
    pub(super) fn into_job(
        self,
        mark: NextAction,
        key: Option<IdempotencyKey>,
        now: DateTime,
        announce_by: DateTime,
        trace: TraceContext,
    ) -> Job {
        let hash = key.as_ref().map(|_| request_hash(&self));
        Job {
            id: new_id(now),
            kind: self.kind,
            queue: self.queue,
            priority: self.priority,
            payload: Some(self.payload.into_text()),
            dedup_key: self.object_id.clone(),
            object_id: self.object_id,
            idempotency_key: key.map(IdempotencyKey::into_text),
            idempotency_hash: hash,
            timeout_s: self.limits.timeout_s,
            max_attempts: self.limits.max_attempts,
            created_at: now,
            trace: Some(trace),
            run: 1,
            attempt: 0,
            status: Status::Queued,
            position: position(Position::fresh(1)),
            worker: None,
            started_at: None,
            next_at: None,
            ended_at: None,
            result: None,
            error: None,
            reason: None,
            attempts: Vec::new(),
            cancel: None,
            epoch: 1,
            announced: None,
            for_generation: None,
            next_action: Some(mark),
            next_action_at: Some(announce_by),
        }
    }
}

/// An id whose time is `now`, so that bounds on the time of creation are bounds on ids; within a
/// millisecond, later ids are higher.
fn new_id(now: DateTime) -> Uuid {
    static CONTEXT: std::sync::Mutex<uuid::ContextV7> = std::sync::Mutex::new(uuid::ContextV7::new());
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
    let context = CONTEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let time = uuid::Timestamp::from_unix(&*context, millis / 1000, nanos);
    Uuid::from_bytes(uuid::Uuid::new_v7(time).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<NewJob, Vec<String>> {
        let fields = Fields::parse(json.as_bytes()).expect("the test's JSON is an object");
        NewJob::read(fields).map_err(|problem| {
            let problem = serde_json::to_value(&problem).unwrap();
            let errors = problem["errors"].as_array().unwrap();
            errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
        })
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let new_job = read(r#"{"kind":"noop"}"#).unwrap();
        assert_eq!(new_job.queue.as_str(), "default");
        assert_eq!(new_job.priority, Priority::Normal);
        assert_eq!(new_job.limits, Limits { timeout_s: 46, max_attempts: 5 });
        assert_eq!(new_job.payload.as_str(), "{}");
    }

    #[test]
    fn limits_are_exact() {
        for (json, fine) in [
            (r#"{"kind":"noop","timeout_s":1}"#, true),
            (r#"{"kind":"noop","timeout_s":86400}"#, true),
            (r#"{"kind":"noop","timeout_s":0}"#, false),
            (r#"{"kind":"noop","timeout_s":86401}"#, false),
            (r#"{"kind":"noop","timeout_s":1.5}"#, false),
            (r#"{"kind":"noop","timeout_s":"1"}"#, false),
            (r#"{"kind":"noop","max_attempts":100}"#, true),
            (r#"{"kind":"noop","max_attempts":101}"#, false),
            (r#"{"kind":"noop","object_id":""}"#, false),
            (r#"{"kind":"noop","queue":"Not OK"}"#, false),
            (r#"{"kind":"noop","payload":[]}"#, false),
            (r#"{"kind":"noop","payload":null}"#, false),
        ] {
            assert_eq!(read(json).is_ok(), fine, "{json}");
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let wrong =
            read(r#"{"payload":7,"queue":"","priority":"urgent","timeout_s":0,"max_attempts":0,"shoe":1}"#);
        assert_eq!(
            wrong,
            Err(["kind", "queue", "priority", "timeout_s", "max_attempts", "payload", "shoe"]
                .map(str::to_owned)
                .to_vec())
        );
        assert_eq!(
            read(r#"{"kind":"sleep","payload":{"min_s":"x"}}"#),
            Err(vec!["payload.min_s".to_owned()])
        );
    }

    #[test]
    fn the_payload_is_kept_to_the_letter() {
        let new_job = read(r#"{"kind":"own","payload":{"n": 1.0e2,  "s":"\u00e9"}}"#).unwrap();
        assert_eq!(new_job.payload.as_str(), r#"{"n": 1.0e2,  "s":"\u00e9"}"#);
    }
}
