//! `cargo lab delayed`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use stack::Profile;

use super::{Settings, run};

/// The options of `delayed`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many jobs are due in the same second; 0 leaves that out
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    /// How many jobs are due each second after that; 0 leaves that out
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// For how long
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// How many ordinary jobs are created each second meanwhile
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    ordinary: u32,
    /// Replicas of the api-service
    #[arg(long, default_value_t = 2)]
    api: usize,
    /// Builds the services without optimizations
    #[arg(long)]
    dev: bool,
}

/// Measures, and prints the figures.
///
/// # Errors
/// Where something could not be measured.
pub async fn command(Options { jobs, rate, seconds, ordinary, api, dev }: Options) -> Result<ExitCode> {
    let profile = if dev { Profile::Dev } else { Profile::Release };
    run(Settings { jobs, rate, seconds, ordinary, api: api.max(1), profile }, say).await?;
    Ok(ExitCode::SUCCESS)
}

/// A closed pipe is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
