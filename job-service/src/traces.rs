//! The spans of this service, in the order of a job's way: their names and attributes, as `docs/traces.md` shows them.

use service_kit::telemetry::traces::{KeyValue, Kind, SpanType};
use shared_events::{RunId, WorkerId};

use crate::ledger::Run;

/// An announcement that is claimed.
pub static PROCESS_CREATED: SpanType = SpanType {
    name: "process job:created",
    kind: Kind::Consumer,
    always: PROCESSED,
    own: &["messaging.destination.name", "messaging.message.id", "job.id", "run", "job.kind"],
    batch: None,
    meaning: "an announcement is read and its run claimed, or found to be claimed or over",
};

/// Runs that were not known.
pub static INSERT_RUNS: SpanType = SpanType {
    name: "insert runs",
    kind: Kind::Client,
    always: &[("db.system.name", "mongodb"), ("db.operation.name", "insert"), ("db.collection.name", "runs")],
    own: OF_RUN,
    batch: Some("db.operation.batch.size"),
    meaning: "the claim: the run is stored as this worker's, journaled, unless it is known already",
};

/// Runs that are changed.
pub static UPDATE_RUNS: SpanType = SpanType {
    name: "update runs",
    kind: Kind::Client,
    always: &[("db.system.name", "mongodb"), ("db.operation.name", "update"), ("db.collection.name", "runs")],
    own: &["job.id", "run", "run.attempt", "worker", "run.status"],
    batch: Some("db.operation.batch.size"),
    meaning: "a retry is claimed, or a run whose lease has ended taken over (`run.status=running`, beneath the announcement); or the outcome \
              is recorded (beneath the attempt)",
};

/// An attempt.
pub static ATTEMPT: SpanType = SpanType {
    name: "attempt {job.kind}",
    kind: Kind::Internal,
    always: &[],
    own: &["job.id", "run", "job.kind", "run.attempt", "worker", "outcome", "error.type"],
    batch: None,
    meaning: "the handler is at work. `outcome`: `finished`, `failed`, `cancelled`, `retry`, `released`, `superseded`. An error, with the error's \
              code, where it failed or is to be tried again",
};

/// What the kind `http` asks for.
pub static HTTP_REQUEST: SpanType = SpanType {
    name: "{http.request.method}",
    kind: Kind::Client,
    always: &[],
    own: &["http.request.method", "server.address", "http.response.status_code", "error.type"],
    batch: None,
    meaning: "a job of kind `http` asks a server, up to its whole answer with all redirects",
};

/// An event of a run.
pub static SEND_EVENT: SpanType = SpanType {
    name: "send job:…",
    kind: Kind::Producer,
    always: &[
        ("messaging.system", "nats"),
        ("messaging.operation.type", "send"),
        ("messaging.operation.name", "publish"),
    ],
    own: &["messaging.destination.name", "job.id", "run", "run.attempt", "worker"],
    batch: None,
    meaning: "what has become of the run is published on `JOB_EVENTS`, up to the PubAck; called by its type, such as `send job:finished`",
};

/// Cancels.
pub static PROCESS_CANCEL: SpanType = SpanType {
    name: "process job:cancel",
    kind: Kind::Consumer,
    always: PROCESSED,
    own: &["job.id", "run", "job.kind"],
    batch: Some("messaging.batch.message_count"),
    meaning: "a cancel is recorded in the ledger",
};

const PROCESSED: &[(&str, &str)] = &[
    ("messaging.system", "nats"),
    ("messaging.operation.type", "process"),
    ("messaging.operation.name", "process"),
];

const OF_RUN: &[&str] = &["job.id", "run", "run.attempt", "worker"];

/// All of them.
pub static SPAN_TYPES: &[&SpanType] =
    &[&PROCESS_CREATED, &INSERT_RUNS, &UPDATE_RUNS, &ATTEMPT, &HTTP_REQUEST, &SEND_EVENT, &PROCESS_CANCEL];

/// Which run a span is about.
#[must_use]
pub fn of_id(id: RunId) -> [KeyValue; 2] {
    [KeyValue::new("job.id", id.job.to_string()), KeyValue::new("run", i64::from(id.run))]
}

/// Which attempt of which run a span is about, and whose.
pub fn of_run(run: &Run) -> impl Iterator<Item = KeyValue> {
    let worker = run.worker.as_ref().map(WorkerId::to_string);
    let attempt = KeyValue::new("run.attempt", i64::from(run.attempt));
    of_id(run.id).into_iter().chain([attempt]).chain(worker.map(|worker| KeyValue::new("worker", worker)))
}

/// How a run stands after what a span is about.
#[must_use]
pub fn status_of(run: &Run) -> KeyValue {
    KeyValue::new("run.status", run.status.as_str())
}
