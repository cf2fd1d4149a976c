//! A job that a client asks for: from a request to a document.

use bson::{DateTime, Uuid};
use shared_events::{
    JsonText, Kind, Limits, Position, Priority, Queue, Timestamp, TraceContext,
    payloads::{self, BadPayload},
};
use utoipa::ToSchema;

use super::{
    Job, NextAction,
    idempotency::request_hash,
    model::position,
    timing::{DelayS, Retry, StartWithinS, check_delay, run_at, start_by},
};
use crate::http::read::{Fields, JsonBody, Mistake, MistakeCode, Number, ReadFields, Text};
use crate::idempotency::IdempotencyKey;

/// What a job is about: 1 to 256 characters.
pub type ObjectId = Text<1, 256>;

/// How long one attempt may take, in seconds.
pub(super) type TimeoutS = Number<1, { Limits::MAX_TIMEOUT_S }>;

/// How many attempts may be charged.
pub(super) type MaxAttempts = Number<1, { Limits::MAX_ATTEMPTS }>;

/// How long a job is kept after its end, in seconds: up to a year.
pub type KeepS = Number<1, 31_536_000>;

/// A job that a client asks for.
#[derive(Debug, Clone, PartialEq, ReadFields, ToSchema)]
#[serde(deny_unknown_fields)]
#[read(check = check_payload(kind, payload))]
#[read(check = check_timing(run_at, delay_s))]
pub struct NewJob {
    /// Who does the work.
    pub kind: Kind,
    /// The handler's input: an object of at most 512 KiB and 64 levels, handed on to the letter. That of a built-in kind
    /// is checked before the job is stored: see `GET /v1/kinds`.
    #[schema(value_type = Object, required = false, default = JsonText::empty_object)]
    pub payload: JsonText,
    /// Where to send it.
    #[schema(default = Queue::default)]
    pub queue: Queue,
    /// How urgent it is.
    #[schema(default = Priority::default)]
    pub priority: Priority,
    /// What it is about: the same one again within five minutes (`RERUN_WINDOW_S`) is refused.
    #[schema(inline, example = "order-4711")]
    pub object_id: Option<ObjectId>,
    /// How long one attempt may take, in seconds; over it the run ends as cancelled.
    #[schema(inline, default = NewJob::default_timeout)]
    pub timeout_s: TimeoutS,
    /// How many attempts may count: a failure and a lost worker do.
    #[schema(inline, default = NewJob::default_max_attempts)]
    pub max_attempts: MaxAttempts,
    /// How long it is kept after its end, in seconds; not longer than any other job (`RETENTION_S`). Within a minute after
    /// that it answers 404.
    #[schema(inline, example = 3600)]
    pub keep_s: Option<KeepS>,
    /// When to run it, up to a year from now; until then it is `scheduled`. A time that is over means at once.
    pub run_at: Option<Timestamp>,
    /// The same, in seconds from its creation.
    #[schema(inline, example = 60)]
    pub delay_s: Option<DelayS>,
    /// Within how many seconds, from `run_at` or else from its creation, an attempt is to begin; if none has by then, it
    /// ends as cancelled, reason `expired`.
    #[schema(inline, example = 600)]
    pub start_within_s: Option<StartWithinS>,
    /// How long to wait between attempts; as the worker has it where it is absent.
    pub retry: Option<Retry>,
}

impl JsonBody for NewJob {
    /// Its payload's 512 KiB, and room for the rest.
    const MAX_BYTES: usize = 1 << 20;
}

fn check_payload(kind: &Kind, payload: &JsonText, fields: &mut Fields<'_>) {
    for BadPayload { field, message } in payloads::check(kind, payload) {
        fields.wrong(field, Mistake::new(MistakeCode::WrongFormat, message));
    }
}

fn check_timing(run_at: &Option<Timestamp>, delay_s: &Option<DelayS>, fields: &mut Fields<'_>) {
    check_delay(*run_at, run_at.is_some(), delay_s.is_some(), fields);
}

impl NewJob {
    /// A job of which nothing else is said.
    #[must_use]
    pub fn new(kind: Kind, payload: JsonText) -> Self {
        Self {
            kind,
            payload,
            queue: Queue::default(),
            priority: Priority::default(),
            object_id: None,
            timeout_s: Self::default_timeout(),
            max_attempts: Self::default_max_attempts(),
            keep_s: None,
            run_at: None,
            delay_s: None,
            start_within_s: None,
            retry: None,
        }
    }

    /// How long an attempt may take where the client does not say.
    #[must_use]
    pub const fn default_timeout() -> TimeoutS {
        TimeoutS::new::<{ Limits::DEFAULT.timeout_s }>()
    }

    /// How many attempts may count where the client does not say.
    #[must_use]
    pub const fn default_max_attempts() -> MaxAttempts {
        MaxAttempts::new::<{ Limits::DEFAULT.max_attempts }>()
    }

    /// When it is to run, where that is after `now`.
    pub(super) fn scheduled_for(&self, now: DateTime) -> Option<DateTime> {
        run_at(self.run_at, self.delay_s, now).filter(|at| *at > now)
    }

    /// The document of a new job, with its outbox `mark` inside, to be looked at by `announce_by`; or scheduled, where its
    /// time is to come.
    pub(super) fn into_job(
        self,
        mark: NextAction,
        key: Option<IdempotencyKey>,
        now: DateTime,
        announce_by: DateTime,
        trace: TraceContext,
    ) -> Job {
        let (run_at, scheduled_for) = (run_at(self.run_at, self.delay_s, now), self.scheduled_for(now));
        let start_within_s = self.start_within_s.map(StartWithinS::get);
        let start_by = start_by(run_at.unwrap_or(now).max(now), start_within_s);
        let (stands, epoch) = match scheduled_for {
            Some(_) => (Position::scheduled(1), 0),
            None => (Position::fresh(1), 1),
        };
        let hash = key.as_ref().map(|_| request_hash(&self));
        let object_id = self.object_id.map(ObjectId::into_string);
        Job {
            id: new_id(now),
            kind: self.kind,
            queue: self.queue,
            priority: self.priority,
            payload: Some(self.payload.into_text()),
            dedup_key: object_id.clone(),
            object_id,
            idempotency_key: key.map(IdempotencyKey::into_text),
            idempotency_hash: hash,
            timeout_s: self.timeout_s.get(),
            max_attempts: self.max_attempts.get(),
            keep_s: self.keep_s.map(KeepS::get),
            retry: self.retry.map(Retry::pauses),
            run_at,
            start_within_s,
            revision: 0,
            schedule: None,
            elsewhere: None,
            created_at: now,
            trace: Some(trace),
            run: 1,
            attempt: 0,
            status: stands.status,
            position: position(stands),
            worker: None,
            started_at: None,
            next_at: None,
            ended_at: None,
            result: None,
            output: None,
            error: None,
            reason: None,
            attempts: Vec::new(),
            start_by,
            expire_at: start_by,
            expiry_asked_at: None,
            cancel: None,
            epoch,
            announced: None,
            for_generation: None,
            next_action: Some(if scheduled_for.is_some() { NextAction::Promote } else { mark }),
            next_action_at: Some(scheduled_for.unwrap_or(announce_by)),
        }
    }
}

/// An id whose time is `now`, so that bounds on the time of creation are bounds on ids; within a
/// millisecond, later ids are higher.
pub(crate) fn new_id(now: DateTime) -> Uuid {
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
    use crate::http::read::read_json_object;

    fn read(json: &str) -> Result<NewJob, Vec<String>> {
        read_json_object(json.as_bytes()).map_err(|mistakes| {
            let (errors, ..) = mistakes.into_parts();
            errors.into_iter().map(|error| error.field).collect()
        })
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let new_job = read(r#"{"kind":"noop"}"#).unwrap();
        assert_eq!(new_job.queue.as_str(), "default");
        assert_eq!(new_job.priority, Priority::Normal);
        assert_eq!((new_job.timeout_s.get(), new_job.max_attempts.get()), (46, 5));
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
            (r#"{"kind":"noop","keep_s":1}"#, true),
            (r#"{"kind":"noop","keep_s":31536000}"#, true),
            (r#"{"kind":"noop","keep_s":0}"#, false),
            (r#"{"kind":"noop","keep_s":31536001}"#, false),
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
            Err(["kind", "payload", "queue", "priority", "timeout_s", "max_attempts", "shoe"]
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
