//! `hasty fsck`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use shared_events::streams;

use super::{Endpoints, check};

/// The options of `fsck`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The api-service's MongoDB
    #[arg(long, value_name = "URI", env = "API_MONGO_URI")]
    api_mongo: String,
    /// Its database
    #[arg(long, value_name = "NAME", env = "API_MONGO_DATABASE", default_value = "hasty_api")]
    api_db: String,
    /// The job-service's MongoDB
    #[arg(long, value_name = "URI", env = "JOB_MONGO_URI")]
    job_mongo: String,
    /// Its database
    #[arg(long, value_name = "NAME", env = "JOB_MONGO_DATABASE", default_value = "hasty_jobs")]
    job_db: String,
    /// NATS
    #[arg(long, value_name = "URL", env = "NATS_URL")]
    nats: String,
    /// A user of NATS, where it asks for one
    #[arg(long, value_name = "NAME", env = "NATS_USER")]
    nats_user: Option<String>,
    /// That user's password
    #[arg(long, value_name = "PASSWORD", env = "NATS_PASSWORD", hide_env_values = true)]
    nats_password: Option<String>,
    /// How long its services keep a run after its end, in seconds
    #[arg(long, value_name = "SECONDS", env = "RETENTION_S", default_value_t = streams::RETENTION.as_secs_f64())]
    retention_s: f64,
}

/// Exit code 0: clean; 1: not; 2: it could not look.
///
/// # Errors
/// Where the retention is no length of time; else what goes wrong is printed, and the exit code says it.
pub async fn command(options: Options) -> Result<ExitCode> {
    let endpoints = Endpoints {
        api_mongo: options.api_mongo,
        api_db: options.api_db,
        job_mongo: options.job_mongo,
        job_db: options.job_db,
        nats: options.nats,
        nats_user: options.nats_user,
        nats_password: options.nats_password,
        retention: Duration::try_from_secs_f64(options.retention_s).context("--retention-s")?,
    };
    match check(&endpoints).await {
        Ok(report) => {
            let summary = if report.is_clean() { "clean" } else { "NOT CLEAN" };
            // A closed pipe does not change the exit code.
            let _ = writeln!(std::io::stdout(), "{report}{summary}");
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            eprintln!("could not look: {error:#}");
            Ok(ExitCode::from(2))
        }
    }
}
