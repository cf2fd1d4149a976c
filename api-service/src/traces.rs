//! The spans of this service, in the order of a job's way: their names and attributes, as `docs/traces.md` shows them.

use service_kit::telemetry::traces::{KeyValue, Kind, SpanType};

use shared_events::JobEvent;

use crate::jobs::Job;

/// A request.
pub static REQUEST: SpanType = SpanType {
    name: "{http.request.method} {http.route}",
    kind: Kind::Server,
    always: &[("url.scheme", "http")],
    own: &[
        "http.request.method",
        "http.route",
        "url.path",
        "http.response.status_code",
        "error.type",
        "request.id",
    ],
    batch: None,
    meaning: "a request, but those to `/health/`; an error where the status is 500 or more, or the client went away",
};

/// A schedule's firing, which no request asked for.
pub static FIRE: SpanType = SpanType {
    name: "fire schedule",
    kind: Kind::Internal,
    always: &[],
    own: &["schedule.id", "job.id", "job.kind"],
    batch: None,
    meaning: "a firing's job is created; the root of that job's trace",
};

/// A job that is taken in from elsewhere.
pub static IMPORT: SpanType = SpanType {
    name: "import job",
    kind: Kind::Internal,
    always: &[],
    own: &["job.id", "job.kind"],
    batch: None,
    meaning: "a job is taken in by an import; the root of that job's trace",
};

/// Jobs that are stored.
pub static INSERT_JOBS: SpanType = SpanType {
    name: "insert jobs",
    kind: Kind::Client,
    always: &[("db.system.name", "mongodb"), ("db.operation.name", "insert"), ("db.collection.name", "jobs")],
    own: &["job.id", "job.kind"],
    batch: Some("db.operation.batch.size"),
    meaning: "the job is stored with its outbox mark, journaled",
};

/// An announcement of a job's run.
pub static SEND_CREATED: SpanType = SpanType {
    name: "send job:created",
    kind: Kind::Producer,
    always: SENT,
    own: &["messaging.destination.name", "messaging.message.id", "job.id", "job.kind"],
    batch: None,
    meaning: "the run is announced on `JOBS`, up to the PubAck. Its attempts are beneath it",
};

/// A request to cancel a run, to the workers.
pub static SEND_CANCEL: SpanType = SpanType {
    name: "send job:cancel",
    kind: Kind::Producer,
    always: SENT,
    own: &["messaging.destination.name", "job.id", "job.kind"],
    batch: None,
    meaning: "workers are told on `JOB_CONTROL` that the run is to be cancelled",
};

/// An event of a worker.
pub static PROCESS_EVENT: SpanType = SpanType {
    name: "process JOB_EVENTS",
    kind: Kind::Consumer,
    always: &[
        ("messaging.system", "nats"),
        ("messaging.operation.type", "process"),
        ("messaging.operation.name", "process"),
    ],
    own: &["messaging.destination.name", "job.id", "run.attempt"],
    batch: Some("messaging.batch.message_count"),
    meaning: "an event is applied; in the job's trace called by its type, such as `process job:finished`",
};

/// What an event changes.
pub static UPDATE_JOBS: SpanType = SpanType {
    name: "update jobs",
    kind: Kind::Client,
    always: &[("db.system.name", "mongodb"), ("db.operation.name", "update"), ("db.collection.name", "jobs")],
    own: &["job.id", "run.attempt"],
    batch: Some("db.operation.batch.size"),
    meaning: "the job's status is written, if the event is above it",
};

const SENT: &[(&str, &str)] = &[
    ("messaging.system", "nats"),
    ("messaging.operation.type", "send"),
    ("messaging.operation.name", "publish"),
];

/// All of them.
pub static SPAN_TYPES: &[&SpanType] =
    &[&REQUEST, &FIRE, &IMPORT, &INSERT_JOBS, &SEND_CREATED, &SEND_CANCEL, &PROCESS_EVENT, &UPDATE_JOBS];

/// Which job a span is about.
#[must_use]
pub fn of_job(job: &Job) -> Vec<KeyValue> {
    vec![
        KeyValue::new("job.id", job.job_id().to_string()),
        KeyValue::new("job.kind", job.kind.as_str().to_owned()),
    ]
}

/// Which attempt of which job a span is about.
#[must_use]
pub fn of_event(event: &JobEvent) -> [KeyValue; 2] {
    [
        KeyValue::new("job.id", event.run_id().job.to_string()),
        KeyValue::new("run.attempt", i64::from(event.position().attempt)),
    ]
}
