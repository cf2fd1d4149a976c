//! `cargo lab users`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use stack::Profile;

use super::{Settings, run};

/// The options of `users`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long the load runs before the first member is killed, how long each is away, and back again before the next, in
    /// seconds
    #[arg(long, default_value_t = 15)]
    phase_s: u64,
    /// How many clients create users; as many change them, and twice as many read them
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// Elections take as long as MongoDB has it, and not a fifth of that
    #[arg(long)]
    usual_elections: bool,
    /// Builds the services with optimizations
    #[arg(long)]
    release: bool,
}

/// Exit code 0: nothing was lost; 1: something was.
///
/// # Errors
/// Where the run could not be carried out.
pub async fn command(Options { phase_s, clients, usual_elections, release }: Options) -> Result<ExitCode> {
    let profile = if release { Profile::Release } else { Profile::Dev };
    let settings =
        Settings { phase: Duration::from_secs(phase_s), clients: clients.max(1), usual_elections, profile };
    let report = run(settings, say).await?;
    say(&format!("\n{report}"));
    let is_fine = report.lost == 0 && report.wrong.is_empty();
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A closed pipe is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
