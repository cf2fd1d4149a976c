//! The settings that both services have: the broker, the outbox, the logs, and how long things are kept.

use std::{net::SocketAddr, time::Duration};

use shared_events::streams::{RETENTION, StreamSettings};

use super::Reader;
use crate::{
    dead_letters::MAX_WAIT,
    nats::NatsSettings,
    telemetry::{LogFilter, LogFormat, LogSettings, TraceSettings},
};

/// The longest that messages of newer versions are given back, in seconds.
const LONGEST_WAIT_S: f64 = MAX_WAIT.as_secs() as f64;

/// The longest retention: a hundred years, in seconds.
const MAX_RETENTION_S: f64 = 36_525.0 * 86_400.0;

/// How to reach the broker, what its streams are created with, how to log, and how long things are kept.
#[derive(Debug, Clone)]
pub struct CommonSettings {
    /// The broker.
    pub nats: NatsSettings,
    /// What streams are created with, where they are missing.
    pub streams: StreamSettings,
    /// How often the database is looked through for what was not announced.
    pub relay_scan: Duration,
    /// How long the direct path may take to announce something before the scan does.
    pub relay_after: Duration,
    /// How long a message that a newer version may have written is given back before it becomes a dead letter.
    pub unreadable_wait: Duration,
    /// How long what is over is kept: a run after its end, a message that could not be read after it came.
    pub retention: Duration,
    /// How long what is under way may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// Where Prometheus asks; nothing is counted where absent.
    pub metrics_addr: Option<SocketAddr>,
    /// What is logged, how and where.
    pub log: LogSettings,
    /// Which spans are recorded, and where they go.
    pub traces: TraceSettings,
}

impl CommonSettings {
    /// Reads all of it.
    pub fn read(from: &mut Reader) -> Self {
        Self {
            nats: NatsSettings {
                url: from
                    .setting("NATS_URL", "the broker")
                    .values("servers, separated by commas")
                    .secret_uri("nats://127.0.0.1:4222"),
                user: from.setting("NATS_USER", "the service's user of NATS").optional(),
                password: from.setting("NATS_PASSWORD", "its password").secret(),
            },
            streams: stream_settings(from),
            relay_scan: from
                .setting("RELAY_SCAN_S", "how often a scan announces what was not announced")
                .seconds(1.0, 0.05..=60.0),
            relay_after: from
                .setting("RELAY_AFTER_S", "after how long the scan does so")
                .seconds(5.0, 0.1..=600.0),
            unreadable_wait: from
                .setting(
                    "UNREADABLE_WAIT_S",
                    "how long a message that only a newer version can read is given back before it becomes a dead \
                     letter",
                )
                .seconds(LONGEST_WAIT_S, 0.0..=LONGEST_WAIT_S),
            retention: from
                .setting(
                    "RETENTION_S",
                    "how long a job is kept after its end, an earlier run after its own, and a dead letter. The same \
                     for all replicas; see [what goes, and when](operations.md#what-goes-and-when)",
                )
                .seconds(RETENTION.as_secs_f64(), 1.0..=MAX_RETENTION_S),
            shutdown_grace: from
                .setting(
                    "SHUTDOWN_GRACE_S",
                    "how long what is under way may go on after SIGTERM; the process ends a few seconds after that at \
                     most, also where its servers are away",
                )
                .seconds(20.0, 0.0..=3600.0),
            metrics_addr: from
                .setting(
                    "METRICS_ADDR",
                    "where Prometheus finds this process's [metrics](metrics.md), as `/metrics`. An address of its own, which \
                     only Prometheus should reach; where absent, nothing is counted",
                )
                .values("an address and a port")
                .optional(),
            log: log_settings(from),
            traces: TraceSettings::read(from),
        }
    }
}

fn stream_settings(from: &mut Reader) -> StreamSettings {
    let default = StreamSettings::default();
    let mut max_bytes =
        |name, meaning, default: i64| from.setting(name, meaning).number(default >> 20, 1..=1 << 30) << 20;
    StreamSettings {
        jobs_max_bytes: max_bytes(
            "NATS_JOBS_MAX_MIB",
            "the most that `JOBS` may hold. Used when the stream is created; an existing one is left as it is",
            default.jobs_max_bytes,
        ),
        events_max_bytes: max_bytes(
            "NATS_EVENTS_MAX_MIB",
            "the most that `JOB_EVENTS` may hold; likewise",
            default.events_max_bytes,
        ),
        control_max_bytes: max_bytes(
            "NATS_CONTROL_MAX_MIB",
            "the most that `JOB_CONTROL` may hold; likewise",
            default.control_max_bytes,
        ),
        replicas: from
            .setting("NATS_REPLICAS", "how many copies each stream has; likewise")
            .number(default.replicas, 1..=5),
    }
}

fn log_settings(from: &mut Reader) -> LogSettings {
    LogSettings {
        filter: from
            .setting("LOG", "which lines are logged")
            .values("such as `info,job=debug,http=debug`")
            .or(LogFilter::default()),
        format: from
            .setting("LOG_FORMAT", "how they look; `auto` is text on a terminal, else JSON")
            .values("`auto`, `json`, `text`")
            .or(LogFormat::default()),
        tcp: from
            .setting(
                "LOG_TCP",
                "send the same lines there too, each a JSON object and a line's end. Up to 8 MiB wait for a receiver that is \
                 away or slow; what finds no room is dropped, and told as a count. See [logs](operations.md#logs)",
            )
            .values("`host:port`, or `tls://host:port`")
            .optional(),
        dir: from
            .setting("LOG_DIR", "write them there too: a file a day for each service, in UTC")
            .values("a folder")
            .optional(),
        dir_days: from.setting("LOG_DIR_DAYS", "how many of these files are kept").number(14, 1..=3650),
    }
}
