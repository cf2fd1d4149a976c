//! The job-service's settings, from environment variables.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;
use service_kit::{
    guarded_http::Allowed,
    settings::{CommonSettings, ReadSettings, Reader},
};
use shared_events::Queue;

use crate::{
    kinds::{AllowedPrograms, ContainerSettings},
    worker::{KindLimits, RetryPolicy, Ticks},
};

/// All settings of a worker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ledger's database.
    pub mongo_uri: SecretString,
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
    /// How many of them kinds may take that have limits of their own.
    pub kind_slots: KindLimits,
    /// How many threads are kept for handlers that do not block; those that do get more.
    pub handler_threads: usize,
    /// Which queues it serves.
    pub queues: Vec<Queue>,
    /// When it takes what waits; as it comes where absent.
    pub ticks: Option<Ticks>,
    /// How long a claim holds unless it is renewed.
    pub lease: Duration,
    /// How often the ledger is looked through for retries that are due and leases that ended.
    pub due_scan: Duration,
    /// The pause before the second attempt; doubles with each.
    pub retry_base: Duration,
    /// Where jobs of kind `http` may go besides public addresses.
    pub http_allow: Allowed,
    /// Which programs jobs of kind `command` may run; where none, the kind is not served.
    pub command_allow: AllowedPrograms,
    /// How jobs of kind `container` are run; without an engine, the kind is not served.
    pub container: ContainerSettings,
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

impl ReadSettings for Settings {
    fn read(from: &mut Reader) -> Self {
        let health_addr = from
            .setting("WORKER_HEALTH_ADDR", "where the health endpoints listen")
            .values("an address and a port")
            .or(SocketAddr::from(([127, 0, 0, 1], 8001)));
        let mongo_uri = from
            .setting("JOB_MONGO_URI", "the database of the ledger")
            .values("a MongoDB URI")
            .secret_uri("mongodb://127.0.0.1:27018");
        let mongo_database =
            from.setting("JOB_MONGO_DATABASE", "its name").values("a name").or("hasty_jobs".to_owned());
        let worker = WorkerSettings::read(from);
        Self { mongo_uri, mongo_database, health_addr, worker, common: CommonSettings::read(from) }
    }
}

impl WorkerSettings {
    fn read(from: &mut Reader) -> Self {
        Self {
            queues: from
                .setting("WORKER_QUEUES", "which queues to serve; they share the worker's slots evenly")
                .values("queues, separated by commas")
                .list(Queue::default()),
            concurrency: from
                .setting(
                    "WORKER_CONCURRENCY",
                    "attempts at once (slots); each may have a payload and a result of 512 KiB in memory. With more \
                     than 1,000 there are no [late acks](late-ack.md)",
                )
                .number(100, 1..=100_000),
            kind_slots: from
                .setting(
                    "KIND_SLOTS",
                    "kinds that may take only so many of the slots, so that slow ones leave room for others \
                     ([operations.md](operations.md#slow-kinds))",
                )
                .values("kinds with their slots, separated by commas, such as `container:4,command:8`")
                .optional()
                .unwrap_or_default(),
            handler_threads: from
                .setting(
                    "HANDLER_THREADS",
                    "threads that handlers share; where all are blocked, others are started, at most as many as there \
                     are slots",
                )
                .default_shown("the number of cores, at least 2")
                .number(cores().max(2), 1..=1024),
            ticks: from
                .setting(
                    "WORKER_CRON",
                    "take what waits at each tick only, and rest between; in UTC. Where absent, jobs are taken as they \
                     come",
                )
                .values("a cron expression of five fields, or of six with seconds first, such as `*/10 * * * * *`")
                .optional(),
            lease: from
                .setting(
                    "LEASE_S",
                    "how long a claim holds without being renewed; the same for all workers",
                )
                .seconds(30.0, 0.5..=3600.0),
            due_scan: from
                .setting(
                    "DUE_SCAN_S",
                    "how often the ledger is looked through for due retries and ended leases",
                )
                .seconds(1.0, 0.05..=60.0),
            retry_base: from
                .setting(
                    "RETRY_BASE_S",
                    "the first pause between attempts, at most; it doubles with each failure, to ten minutes at most",
                )
                .seconds(1.0, 0.001..=600.0),
            unknown_kind_wait: from
                .setting(
                    "UNKNOWN_KIND_WAIT_S",
                    "how long a run waits for a worker that has a handler for its kind, from when it was first given \
                     back; then it fails as `unknown_kind`",
                )
                .seconds(3600.0, 0.0..=604_800.0),
            http_allow: from
                .setting(
                    "HTTP_ALLOW",
                    "where jobs of kind `http` may go besides public addresses; all of a named host's addresses are allowed",
                )
                .values("hosts (`hooks.internal`, `*.svc.example`), addresses and ranges (`10.1.0.0/16`), separated by commas")
                .optional()
                .unwrap_or_default(),
            command_allow: from
                .setting(
                    "COMMAND_ALLOW",
                    "which programs jobs of kind `command` may run; where empty, the worker does not do that kind \
                     ([kind-command.md](kind-command.md))",
                )
                .values("names, which are looked up in the usual folders, and absolute paths, separated by commas")
                .optional()
                .unwrap_or_default(),
            container: ContainerSettings {
                engine: from
                    .setting(
                        "CONTAINER_ENGINE",
                        "the engine that runs jobs of kind `container`; where absent, the worker does not do that kind \
                         ([kind-container.md](kind-container.md)). Who may talk to an engine may do everything on its machine",
                    )
                    .values("`unix://` with a path, such as `unix:///var/run/docker.sock`, or `tcp://` with a host and a port")
                    .optional(),
                images: from
                    .setting("CONTAINER_IMAGES", "which images they may run; where empty, none")
                    .values(
                        "names with or without a tag, as jobs write them, in which `*` stands for anything but a `/` and \
                         `**` for anything, separated by commas",
                    )
                    .optional()
                    .unwrap_or_default(),
                networks: from
                    .setting("CONTAINER_NETWORKS", "which of the engine's networks they may be in; where empty, none")
                    .values("names, separated by commas; not `host`")
                    .optional()
                    .unwrap_or_default(),
                script_header: from
                    .setting("SCRIPT_HEADER", "what comes before the lines of every `script`")
                    .values("lines of a shell")
                    .or("set -e".to_owned()),
            },
            faults: from
                .setting(
                    "WORKER_FAULTS",
                    "serve the kind `fault`, which misbehaves as its payload says; for tests",
                )
                .values("`true`, `false`")
                .or(false),
            history: from
                .setting(
                    "WORKER_HISTORY_DIR",
                    "keep the worker's history there, a log of effects and transitions, for `cargo lab chaos` and \
                     other tests",
                )
                .values("a folder")
                .optional(),
        }
    }
}

/// How many cores there are for this process.
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
        assert_eq!(settings.worker.concurrency, 100);
        assert_eq!(settings.worker.lease, Duration::from_secs(30));
        assert_eq!(settings.common.shutdown_grace, Duration::from_secs(20));
        assert_eq!(settings.worker.queues, [Queue::default()]);
        assert!(!settings.worker.faults);
        assert!(settings.health_addr.ip().is_loopback());
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let wrong = parse(&[
            ("WORKER_QUEUES", "ok,Not OK"),
            ("LEASE_S", "0"),
            ("WORKER_CONCURRENCY", "many"),
            ("WORKER_CRON", "every ten seconds"),
            ("KIND_SLOTS", "sleep"),
        ]);
        let told = wrong.unwrap_err().to_string();
        for name in ["WORKER_QUEUES", "LEASE_S", "WORKER_CONCURRENCY", "WORKER_CRON", "KIND_SLOTS"] {
            assert!(told.contains(name), "{told}");
        }
    }
}
