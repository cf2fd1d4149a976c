//! What both services count: their databases, the broker, groups and logs.

use super::{Counters, Family, Gauges, Histograms, MEMBERS, QUICK, runtime};

/// How long commands take; `operation` is `insert`, `update` or `other`.
pub static DATABASE_SECONDS: Histograms<1> = Histograms::histograms(
    "hasty_database_operation_seconds",
    ["operation"],
    QUICK,
    "how long operations of the service's MongoDB take. `operation`: `insert`, `update`, `other` (reads above all). Its `_count` is how many there were",
);

/// Operations that failed.
pub static DATABASE_FAILURES: Counters<0> = Counters::counters(
    "hasty_database_failures_total",
    [],
    "operations of MongoDB that failed, got no answer, or took so long that they count as failed",
);

/// Connections that were made and closed.
pub static DATABASE_CONNECTIONS: Counters<1> = Counters::counters(
    "hasty_database_connections_total",
    ["event"],
    "connections to MongoDB. `event`: `created`, `closed`, `broken`",
);

/// Publishes on JetStream.
pub static BROKER_PUBLISHES: Counters<1> = Counters::counters(
    "hasty_broker_publishes_total",
    ["outcome"],
    "publishes on JetStream. `outcome`: `stored`, `duplicate`, `stream_missing`, `refused` (full), `too_large`, `no_answer`",
);

/// How long until the PubAck.
pub static BROKER_PUBLISH_SECONDS: Histograms<0> = Histograms::histograms(
    "hasty_broker_publish_seconds",
    [],
    QUICK,
    "how long until JetStream said that a message is stored",
);

/// Connections to NATS.
pub static BROKER_CONNECTS: Counters<0> =
    Counters::counters("hasty_broker_connects_total", [], "connections to NATS, the first one included");

static BROKER_CONNECTED: Gauges<0> =
    Gauges::gauges("hasty_broker_connected", [], "1 where the service is connected to NATS, else 0");

/// How many writes or messages share a command.
pub static GROUP_MEMBERS: Histograms<1> = Histograms::histograms(
    "hasty_group_members",
    ["group"],
    MEMBERS,
    "how many share a command. `group`: `jobs` (inserts), `receipts` (marks that come off), `events` at the api-service; `claims`, `ends`, `marks`, `cancels` at the job-service",
);

/// Lines that were not sent or written.
pub static LOG_LINES_DROPPED: Counters<1> = Counters::counters(
    "hasty_log_lines_dropped_total",
    ["to"],
    "log lines that found no room. `to`: `tcp`, `files`",
);

/// Spans that were sent.
pub static TRACE_SPANS_SENT: Counters<0> =
    Counters::counters("hasty_trace_spans_sent_total", [], "spans of traces that their receiver has taken");

/// Spans that were not sent.
pub static TRACE_SPANS_DROPPED: Counters<1> = Counters::counters(
    "hasty_trace_spans_dropped_total",
    ["why"],
    "spans of traces that were dropped. `why`: `full` (too many wait), `failed` (the receiver did not take them in time), `end` (of the process)",
);

/// What has its alerts is there from the start: an increase from nothing is none.
pub(super) fn start_at_zero() {
    DATABASE_FAILURES.add([], 0);
    for to in ["tcp", "files"] {
        LOG_LINES_DROPPED.add([to], 0);
    }
    for why in ["full", "failed", "end"] {
        TRACE_SPANS_DROPPED.add([why], 0);
    }
}

/// Says whether the broker is connected.
pub fn connected(is_connected: bool) {
    BROKER_CONNECTED.set([], f64::from(u8::from(is_connected)));
}

/// What both services count.
pub static FAMILIES: &[&dyn Family] = &[
    &DATABASE_SECONDS,
    &DATABASE_FAILURES,
    &DATABASE_CONNECTIONS,
    &BROKER_PUBLISHES,
    &BROKER_PUBLISH_SECONDS,
    &BROKER_CONNECTS,
    &BROKER_CONNECTED,
    &GROUP_MEMBERS,
    &LOG_LINES_DROPPED,
    &TRACE_SPANS_SENT,
    &TRACE_SPANS_DROPPED,
    &runtime::THREADS,
    &runtime::TASKS,
    &runtime::QUEUED,
    &runtime::BUSY_SECONDS,
];
