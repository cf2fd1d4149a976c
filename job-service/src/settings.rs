//! The job-service's settings, from environment variables.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;
use service_kit::settings::{BadSettings, Check, CommonSettings, RawCommonSettings, from_env};
use shared_events::Queue;

use crate::worker::RetryPolicy;

/// All settings of a worker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ledger's database.
    pub mongo_uri: String,
    /// Its name.
    pub mongo_database: String,
    /// What both services have.
    pub common: CommonSettings,
    /// Where the health endpoints listen.
    pub health_addr: SocketAddr,
    /// How runs are taken and kept.
    pub worker: WorkerSettings,
}

/// How a worker takes and keeps runs.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// How many attempts run at once.
    pub concurrency: usize,
    /// How many threads are kept for handlers that do not block; those that do get more.
    pub handler_threads: usize,
    /// Which queues it serves.
    pub queues: Vec<Queue>,
    /// How long a claim holds unless it is renewed.
    pub lease: Duration,
    /// How long running attempts may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// How often the ledger is looked through for retries that are due and leases that ended.
    pub due_scan: Duration,
    /// How often the ledger is looked through for outcomes that were not announced.
    pub relay_scan: Duration,
    /// How long the direct path may take to announce an outcome before the scan does.
    pub relay_after: Duration,
    /// The pause before the second attempt; doubles with each.
    pub retry_base: Duration,
    /// Whether the `fault` kind is served, for tests.
    pub faults: bool,
    /// How long a run waits for a worker that has a handler for its kind.
    pub unknown_kind_wait: Duration,
    /// Where the worker keeps a log of effects and transitions, for tests; nowhere where absent.
    pub history: Option<PathBuf>,
}

impl WorkerSettings {
    /// The longest pause between attempts.
    pub const RETRY_MAX: Duration = Duration::from_secs(600);

    /// When failed attempts are tried again.
    pub(crate) const fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy { base: self.retry_base, max: Self::RETRY_MAX, unknown_kind_wait: self.unknown_kind_wait }
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    job_mongo_uri: Option<String>,
    job_mongo_database: Option<String>,
    worker_health_addr: Option<String>,
    worker_concurrency: Option<String>,
    handler_threads: Option<String>,
    worker_queues: Option<String>,
    worker_faults: Option<String>,
    worker_history_dir: Option<String>,
    unknown_kind_wait_s: Option<String>,
    lease_s: Option<String>,
    shutdown_grace_s: Option<String>,
    due_scan_s: Option<String>,
    relay_scan_s: Option<String>,
    relay_after_s: Option<String>,
    retry_base_s: Option<String>,
    #[serde(flatten)]
    common: RawCommonSettings,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Every variable that is wrong.
    pub fn from_env() -> Result<Self, BadSettings> {
        Self::parse(from_env()?)
    }

    fn parse(raw: Raw) -> Result<Self, BadSettings> {
        let mut check = Check::new();
        let settings = Self {
            mongo_uri: check.value(
                "JOB_MONGO_URI",
                raw.job_mongo_uri,
                "mongodb://127.0.0.1:27018".to_owned(),
            ),
            mongo_database: check.value(
                "JOB_MONGO_DATABASE",
                raw.job_mongo_database,
                "hasty_jobs".to_owned(),
            ),
            common: raw.common.parse(&mut check),
            health_addr: check.value(
                "WORKER_HEALTH_ADDR",
                raw.worker_health_addr,
                SocketAddr::from(([127, 0, 0, 1], 8001)),
            ),
            worker: WorkerSettings {
                concurrency: check.number("WORKER_CONCURRENCY", raw.worker_concurrency, 100, 1..=100_000),
                handler_threads: check.number(
                    "HANDLER_THREADS",
                    raw.handler_threads,
                    cores().max(2),
                    1..=1024,
                ),
                queues: check.list("WORKER_QUEUES", raw.worker_queues, Queue::default()),
                lease: check.seconds("LEASE_S", raw.lease_s, 30.0, 0.5..=3600.0),
                shutdown_grace: check.seconds("SHUTDOWN_GRACE_S", raw.shutdown_grace_s, 20.0, 0.0..=3600.0),
                due_scan: check.seconds("DUE_SCAN_S", raw.due_scan_s, 1.0, 0.05..=60.0),
                relay_scan: check.seconds("RELAY_SCAN_S", raw.relay_scan_s, 1.0, 0.05..=60.0),
                relay_after: check.seconds("RELAY_AFTER_S", raw.relay_after_s, 5.0, 0.1..=600.0),
                retry_base: check.seconds("RETRY_BASE_S", raw.retry_base_s, 1.0, 0.001..=600.0),
                faults: check.value("WORKER_FAULTS", raw.worker_faults, false),
                unknown_kind_wait: check.seconds(
                    "UNKNOWN_KIND_WAIT_S",
                    raw.unknown_kind_wait_s,
                    3600.0,
                    0.0..=604_800.0,
                ),
                history: check.optional("WORKER_HISTORY_DIR", raw.worker_history_dir),
            },
        };
        check.finish(settings)
    }
}

/// How many cores there are for this process.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Settings, BadSettings> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::parse(envy::from_iter(owned).unwrap())
    }

    #[test]
    fn an_empty_environment_gives_the_documented_defaults() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.worker.concurrency, 100);
        assert_eq!(settings.worker.lease, Duration::from_secs(30));
        assert_eq!(settings.worker.shutdown_grace, Duration::from_secs(20));
        assert_eq!(settings.worker.queues, [Queue::default()]);
        assert!(!settings.worker.faults);
        assert!(settings.health_addr.ip().is_loopback());
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let wrong =
            parse(&[("WORKER_QUEUES", "ok,Not OK"), ("LEASE_S", "0"), ("WORKER_CONCURRENCY", "many")]);
        let told = wrong.unwrap_err().to_string();
        for name in ["WORKER_QUEUES", "LEASE_S", "WORKER_CONCURRENCY"] {
            assert!(told.contains(name), "{told}");
        }
    }
}
