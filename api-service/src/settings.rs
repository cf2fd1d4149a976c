//! The api-service's settings, from environment variables.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use service_kit::settings::{CommonSettings, ReadSettings, Reader};

use crate::{http::Allowed, legacy::WorkSettings};

/// All settings of a replica.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where HTTP is served.
    pub addr: SocketAddr,
    /// How many threads serve HTTP.
    pub http_threads: usize,
    /// The jobs' database.
    pub mongo_uri: SecretString,
    /// Its name.
    pub mongo_database: String,
    /// What both services have.
    pub common: CommonSettings,
    /// Under which hosts the API may be asked for, and from which origins' pages.
    pub allowed: Allowed,
    /// How jobs are taken and announced.
    pub jobs: JobSettings,
    /// How the older work API's jobs are created.
    pub work: WorkSettings,
}

/// How jobs are taken and announced.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// How long an `object_id` refuses another job.
    pub rerun_window: Duration,
    /// How many announcements may wait before new jobs are refused.
    pub outbox_max: u64,
    /// How long the firings of schedules are remembered.
    pub firings_kept: Duration,
    /// How often the broker's store is looked at, and what has been silent for long.
    pub reconcile: Duration,
    /// How long an announced job may be silent before it is looked at; grows with the job's age.
    pub silent_after: Duration,
}

impl ReadSettings for Settings {
    fn read(from: &mut Reader) -> Self {
        let addr = from
            .setting(
                "API_ADDR",
                "where HTTP is served. **There is no authentication yet: keep it on loopback or behind something that \
                 has**",
            )
            .values("an address and a port")
            .or(SocketAddr::from(([127, 0, 0, 1], 8000)));
        let mongo_uri = from
            .setting("API_MONGO_URI", "the database of jobs")
            .values("a MongoDB URI")
            .secret_uri("mongodb://127.0.0.1:27017");
        let mongo_database =
            from.setting("API_MONGO_DATABASE", "its name").values("a name").or("hasty_api".to_owned());
        let http_threads = from
            .setting("HTTP_THREADS", "threads that serve HTTP")
            .default_shown("the number of cores")
            .number(cores(), 1..=1024);
        let (allowed, jobs) = (read_allowed(from), JobSettings::read(from));
        let work = WorkSettings::read(from);
        let common = CommonSettings::read(from);
        Self { addr, http_threads, mongo_uri, mongo_database, common, allowed, jobs, work }
    }
}

impl JobSettings {
    fn read(from: &mut Reader) -> Self {
        Self {
            rerun_window: from
                .setting("RERUN_WINDOW_S", "how long an `object_id` refuses another job")
                .seconds(300.0, 0.0..=86_400.0),
            outbox_max: from
                .setting(
                    "OUTBOX_MAX",
                    "how many announcements may wait for NATS before new jobs are refused; those of a queue that has \
                     used up its share of `JOBS` count for that queue alone",
                )
                .number(1_000_000, 1..=1_000_000_000),
            firings_kept: from
                .setting(
                    "FIRINGS_KEPT_S",
                    "how long it is remembered what a schedule has fired for; a backfill reaches back no further",
                )
                .seconds(34_560_000.0, 5_184_000.0..=315_360_000.0),
            reconcile: from
                .setting(
                    "RECONCILE_S",
                    "how often the broker's streams are compared with what the documents say",
                )
                .seconds(5.0, 0.1..=600.0),
            silent_after: from
                .setting(
                    "SILENT_AFTER_S",
                    "after how long since its latest announcement a silent job is looked at; the pauses grow with the \
                     announcement's age to an hour, or to this where it is longer",
                )
                .seconds(600.0, 0.5..=86_400.0),
        }
    }
}

fn read_allowed(from: &mut Reader) -> Allowed {
    let origins = from
        .setting(
            "CORS_ORIGINS",
            "origins whose pages may use the API. Pages of others can change nothing: requests by which they would are \
             refused, by `Origin` and `Sec-Fetch-Site`",
        )
        .values("origins such as `https://board.example`, separated by commas; `*` for all")
        .optional();
    let hosts = from
        .setting(
            "ALLOWED_HOSTS",
            "hosts under which the API may be asked for; all others get 421, except on `/health/…`. Set it where \
             browsers run that reach the API: else a page whose name is made to lead here (DNS rebinding) is taken for \
             one of ours",
        )
        .default_shown("all")
        .values("hosts such as `jobs.example` (with any port) or `localhost:8080`, separated by commas")
        .optional();
    Allowed { origins: origins.unwrap_or_default(), hosts: hosts.unwrap_or_default() }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use service_kit::settings::BadSettings;

    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Settings, BadSettings> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Reader::from_variables(owned)?.read_all()
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
