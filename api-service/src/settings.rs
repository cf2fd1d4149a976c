//! The api-service's settings, from environment variables.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;
use service_kit::settings::{BadSettings, Check, CommonSettings, RawCommonSettings, from_env};

use crate::http::{Allowed, AllowedHosts, AllowedOrigins};

/// All settings of a replica.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where HTTP is served.
    pub addr: SocketAddr,
    /// How many threads serve HTTP.
    pub http_threads: usize,
    /// The jobs' database.
    pub mongo_uri: String,
    /// Its name.
    pub mongo_database: String,
    /// What both services have.
    pub common: CommonSettings,
    /// Under which hosts the API may be asked for, and from which origins' pages.
    pub allowed: Allowed,
    /// How jobs are taken and announced.
    pub jobs: JobSettings,
    /// How long requests and announcements under way may take after SIGTERM.
    pub shutdown_grace: Duration,
}

/// How jobs are taken and announced.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// How long an `object_id` refuses another job.
    pub rerun_window: Duration,
    /// How many announcements may wait before new jobs are refused.
    pub outbox_max: u64,
    /// How often the jobs are looked through for those that were not announced.
    pub relay_scan: Duration,
    /// How long the direct path may take to announce a job before the scan does.
    pub relay_after: Duration,
    /// How often the broker's store is looked at, and what has been silent for long.
    pub reconcile: Duration,
    /// How long an announced job may be silent before it is looked at; grows with the job's age.
    pub silent_after: Duration,
}

#[derive(Debug, Deserialize)]
struct Raw {
    api_addr: Option<String>,
    http_threads: Option<String>,
    api_mongo_uri: Option<String>,
    api_mongo_database: Option<String>,
    allowed_hosts: Option<String>,
    cors_origins: Option<String>,
    reconcile_s: Option<String>,
    rerun_window_s: Option<String>,
    outbox_max: Option<String>,
    relay_scan_s: Option<String>,
    relay_after_s: Option<String>,
    silent_after_s: Option<String>,
    shutdown_grace_s: Option<String>,
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
            addr: check.value("API_ADDR", raw.api_addr, SocketAddr::from(([127, 0, 0, 1], 8000))),
            http_threads: check.number("HTTP_THREADS", raw.http_threads, cores(), 1..=1024),
            mongo_uri: check.value(
                "API_MONGO_URI",
                raw.api_mongo_uri,
                "mongodb://127.0.0.1:27017".to_owned(),
            ),
            mongo_database: check.value("API_MONGO_DATABASE", raw.api_mongo_database, "hasty_api".to_owned()),
            common: raw.common.parse(&mut check),
            allowed: Allowed {
                origins: check.value("CORS_ORIGINS", raw.cors_origins, AllowedOrigins::default()),
                hosts: check.value("ALLOWED_HOSTS", raw.allowed_hosts, AllowedHosts::default()),
            },
            jobs: JobSettings {
                rerun_window: check.seconds("RERUN_WINDOW_S", raw.rerun_window_s, 300.0, 0.0..=86_400.0),
                outbox_max: check.number("OUTBOX_MAX", raw.outbox_max, 1_000_000, 1..=1_000_000_000),
                relay_scan: check.seconds("RELAY_SCAN_S", raw.relay_scan_s, 1.0, 0.05..=60.0),
                relay_after: check.seconds("RELAY_AFTER_S", raw.relay_after_s, 5.0, 0.1..=600.0),
                reconcile: check.seconds("RECONCILE_S", raw.reconcile_s, 5.0, 0.1..=600.0),
                silent_after: check.seconds("SILENT_AFTER_S", raw.silent_after_s, 600.0, 0.5..=86_400.0),
            },
            shutdown_grace: check.seconds("SHUTDOWN_GRACE_S", raw.shutdown_grace_s, 20.0, 0.0..=3600.0),
        };
        check.finish(settings)
    }
}

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
        assert!(settings.addr.ip().is_loopback());
        assert_eq!(settings.jobs.rerun_window, Duration::from_secs(300));
        assert_eq!(settings.jobs.outbox_max, 1_000_000);
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let wrong = parse(&[
            ("API_ADDR", "here"),
            ("OUTBOX_MAX", "0"),
            ("LOG_FORMAT", "xml"),
            ("ALLOWED_HOSTS", "http://a"),
            ("CORS_ORIGINS", "a"),
        ]);
        let told = wrong.unwrap_err().to_string();
        for name in ["API_ADDR", "OUTBOX_MAX", "LOG_FORMAT", "ALLOWED_HOSTS", "CORS_ORIGINS"] {
            assert!(told.contains(name), "{told}");
        }
    }
}
