//! The command line.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use stack::Profile;

use super::{Settings, run};

/// The options of `overload`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many times as many jobs as it can take are sent
    #[arg(long, default_value_t = 4.0)]
    factor: f64,
    /// For how long
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// How many clients send a byte a second, and as many read one
    #[arg(long, default_value_t = 100)]
    slow_clients: usize,
    /// Replicas of the api-service
    #[arg(long, default_value_t = 2)]
    api: usize,
    /// Replicas of the job-service
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Builds the services without optimizations
    #[arg(long)]
    dev: bool,
}

/// Exit code 0: all that was not accepted was answered 503 with `Retry-After`, and it recovered; 1: not.
///
/// # Errors
/// Where something could not be measured.
pub async fn command(options: Options) -> Result<ExitCode> {
    let Options { factor, seconds, slow_clients, api, workers, dev } = options;
    let settings = Settings {
        factor,
        time: Duration::from_secs(seconds),
        slow_clients,
        apis: api.max(1),
        workers: workers.max(1),
        profile: if dev { Profile::Dev } else { Profile::Release },
    };
    let report = run(settings, say).await?;
    say(&report.to_string());
    Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A closed pipe is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
