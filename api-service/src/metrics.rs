//! What the api-service counts besides what every service does.

use std::time::Duration;

use actix_web::{
    body::MessageBody,
    dev::ServiceResponse,
    http::{Method, StatusCode},
};
use service_kit::metrics::{Counters, Family, Gauges, Histograms, LONG, Names, QUICK, at_scrape};
use shared_events::{JobEvent, Kind, Queue, Status};

use crate::outbox::{Backlog, OutboxStore};

static QUEUES: Names = Names::up_to(100);
static KINDS: Names = Names::up_to(100);
static ROUTES: Names = Names::up_to(200);

static HTTP_REQUESTS: Counters<3> = Counters::counters(
    "hasty_http_requests_total",
    ["method", "route", "status"],
    "requests that were answered. `route` is the pattern, such as `/v1/jobs/{id}`; `none` where there is no such route",
);

static HTTP_REQUEST_SECONDS: Histograms<2> = Histograms::histograms(
    "hasty_http_request_seconds",
    ["method", "route"],
    QUICK,
    "how long until the answer began, with what a client waited for on purpose (`wait_s`)",
);

static JOBS_CREATED: Counters<2> = Counters::counters(
    "hasty_jobs_created_total",
    ["kind", "queue"],
    "jobs that were stored; a request that was sent again stores none",
);

static JOBS_CANCELLED: Counters<2> = Counters::counters(
    "hasty_jobs_cancelled_early_total",
    ["kind", "queue"],
    "jobs that were cancelled before their time had come; no worker hears of them, so they are in no other count",
);

static EVENTS: Counters<1> = Counters::counters(
    "hasty_events_applied_total",
    ["event"],
    "events of workers that were applied, some more than once. `event`: `started`, `retrying`, `finished`, `failed`, `cancelled`",
);

static EVENT_LAG_SECONDS: Histograms<0> = Histograms::histograms(
    "hasty_event_lag_seconds",
    [],
    LONG,
    "how long after the end of a run its status was stored, by the two services' clocks",
);

static OUTBOX_WAITING: Gauges<0> = Gauges::gauges(
    "hasty_outbox_waiting",
    [],
    "announcements that wait for NATS, as this replica knows it: of all replicas at the api-service, of all workers at the job-service (up to 10,000)",
);

static OUTBOX_OLDEST_SECONDS: Gauges<0> = Gauges::gauges(
    "hasty_outbox_overdue_seconds",
    [],
    "for how long the first of them has been due to be announced by the scan; 0 where none is",
);

/// What the api-service counts.
pub static FAMILIES: &[&dyn Family] = &[
    &HTTP_REQUESTS,
    &HTTP_REQUEST_SECONDS,
    &JOBS_CREATED,
    &JOBS_CANCELLED,
    &EVENTS,
    &EVENT_LAG_SECONDS,
    &OUTBOX_WAITING,
    &OUTBOX_OLDEST_SECONDS,
];

/// A request was answered.
pub fn answered(method: &Method, answer: &ServiceResponse<impl MessageBody>, took: Duration) {
    if !service_kit::metrics::is_on() {
        return;
    }
    let pattern = answer.request().match_pattern();
    let route = pattern.as_deref().map_or("none", |pattern| ROUTES.value(pattern));
    let method = method_value(method);
    HTTP_REQUESTS.add([method, route, status_value(answer.status())], 1);
    HTTP_REQUEST_SECONDS.record([method, route], took.as_secs_f64());
}

/// A client may make up methods.
fn method_value(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn status_value(status: StatusCode) -> &'static str {
    static STATUSES: Names = Names::up_to(100);
    STATUSES.value(status.as_str())
}

/// A job was stored.
pub fn created(kind: &Kind, queue: &Queue) {
    if service_kit::metrics::is_on() {
        JOBS_CREATED.add([KINDS.value(kind.as_str()), QUEUES.value(queue.as_str())], 1);
    }
}

/// A job was cancelled before its time.
pub fn cancelled_early(kind: &Kind, queue: &Queue) {
    if service_kit::metrics::is_on() {
        JOBS_CANCELLED.add([KINDS.value(kind.as_str()), QUEUES.value(queue.as_str())], 1);
    }
}

/// Events were applied at this time.
pub fn applied(events: &[JobEvent], now_ms: i64) {
    if !service_kit::metrics::is_on() {
        return;
    }
    service_kit::metrics::GROUP_MEMBERS.record(["events"], events.len() as f64);
    for event in events {
        let name = match event {
            JobEvent::Started(_) => "started",
            JobEvent::Retrying(_) => "retrying",
            JobEvent::Ended(Status::Finished, _) => "finished",
            JobEvent::Ended(Status::Failed, _) => "failed",
            JobEvent::Ended(..) => "cancelled",
        };
        EVENTS.add([name], 1);
        if let JobEvent::Ended(_, ended) = event {
            let lag_ms = (now_ms - ended.ended_at.millis()).max(0);
            EVENT_LAG_SECONDS.record([], lag_ms as f64 / 1000.0);
        }
    }
}

/// Has the outbox looked at before each scrape.
pub fn watch_outbox(backlog: &Backlog, store: &OutboxStore) {
    let (backlog, store) = (backlog.clone(), store.clone());
    at_scrape(move || {
        let (backlog, store) = (backlog.clone(), store.clone());
        async move {
            OUTBOX_WAITING.set([], backlog.waiting() as f64);
            if let Ok(overdue) = store.overdue().await {
                OUTBOX_OLDEST_SECONDS.set([], overdue.as_secs_f64());
            }
        }
    });
}
