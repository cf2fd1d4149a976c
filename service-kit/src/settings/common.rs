//! The settings that both services have: the broker, the logs, and how long things are kept.

use std::time::Duration;

use serde::Deserialize;
use shared_events::streams::{RETENTION, StreamSettings};

use super::Check;
use crate::{
    dead_letters::MAX_WAIT,
    nats::NatsSettings,
    telemetry::{LogFilter, LogFormat},
};

/// The longest that messages of newer versions are given back, in seconds.
const LONGEST_WAIT_S: f64 = MAX_WAIT.as_secs() as f64;

/// How to reach the broker, what its streams are created with, how to log, and how long things are kept.
#[derive(Debug, Clone)]
pub struct CommonSettings {
    /// The broker.
    pub nats: NatsSettings,
    /// What streams are created with, where they are missing.
    pub streams: StreamSettings,
    /// How long a message that a newer version may have written is given back before it becomes a dead letter.
    pub unreadable_wait: Duration,
    /// Which lines to log.
    pub log: LogFilter,
    /// How they look.
    pub log_format: LogFormat,
    /// How long what is over is kept: a run after its end, a message that could not be read after it came.
    pub retention: Duration,
}

/// The same as the environment has it; each service flattens it into its own.
#[derive(Debug, Deserialize)]
pub struct RawCommonSettings {
    nats_url: Option<String>,
    nats_user: Option<String>,
    nats_password: Option<String>,
    nats_replicas: Option<String>,
    nats_jobs_max_mib: Option<String>,
    nats_events_max_mib: Option<String>,
    nats_control_max_mib: Option<String>,
    unreadable_wait_s: Option<String>,
    log: Option<String>,
    log_format: Option<String>,
    retention_s: Option<String>,
}

/// The longest retention: a hundred years, in seconds.
const MAX_RETENTION_S: f64 = 36_525.0 * 86_400.0;

impl RawCommonSettings {
    /// Parses all of it; what is wrong is remembered in `check`.
    pub fn parse(self, check: &mut Check) -> CommonSettings {
        let streams = StreamSettings::default();
        let mut max_bytes = |name: &str, raw: Option<String>, default: i64| {
            check.number(name, raw, default >> 20, 1..=1 << 30) << 20
        };
        let jobs_max_bytes = max_bytes("NATS_JOBS_MAX_MIB", self.nats_jobs_max_mib, streams.jobs_max_bytes);
        let events_max_bytes =
            max_bytes("NATS_EVENTS_MAX_MIB", self.nats_events_max_mib, streams.events_max_bytes);
        let control_max_bytes =
            max_bytes("NATS_CONTROL_MAX_MIB", self.nats_control_max_mib, streams.control_max_bytes);
        let replicas = check.number("NATS_REPLICAS", self.nats_replicas, streams.replicas, 1..=5);
        CommonSettings {
            nats: NatsSettings {
                url: check.value("NATS_URL", self.nats_url, "nats://127.0.0.1:4222".to_owned()),
                user: check.optional("NATS_USER", self.nats_user),
                password: check.optional("NATS_PASSWORD", self.nats_password),
            },
            streams: StreamSettings { replicas, jobs_max_bytes, events_max_bytes, control_max_bytes },
            unreadable_wait: check.seconds(
                "UNREADABLE_WAIT_S",
                self.unreadable_wait_s,
                LONGEST_WAIT_S,
                0.0..=LONGEST_WAIT_S,
            ),
            log: check.value("LOG", self.log, LogFilter::default()),
            log_format: check.value("LOG_FORMAT", self.log_format, LogFormat::default()),
            retention: check.seconds(
                "RETENTION_S",
                self.retention_s,
                RETENTION.as_secs_f64(),
                1.0..=MAX_RETENTION_S,
            ),
        }
    }
}
