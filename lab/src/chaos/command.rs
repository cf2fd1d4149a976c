//! `cargo lab chaos`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use stack::Profile;

use super::plan::Plan;
use super::{Settings, run};

/// The options of `chaos`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many jobs; the faults grow with them
    #[arg(long, default_value_t = 1000)]
    jobs: usize,
    /// What is done, and with which jobs, is a function of it; at random otherwise
    #[arg(long)]
    seed: Option<u64>,
    /// As many jobs as take about so long, instead of --jobs
    #[arg(long, conflicts_with = "jobs")]
    minutes: Option<u64>,
    /// Replicas of the job-service
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Replicas of the api-service
    #[arg(long, default_value_t = 2)]
    api: usize,
    /// Nothing goes wrong; then nothing may happen twice
    #[arg(long)]
    no_faults: bool,
    /// Each MongoDB is a replica set of three, and primaries are killed
    #[arg(long)]
    replica_sets: bool,
    /// The clock of one worker jumps back and forth; needs libfaketime, which is fetched from Debian
    #[arg(long)]
    clock_steps: bool,
    /// Builds the services with optimizations
    #[arg(long)]
    release: bool,
    /// Shows what would be done, and does nothing
    #[arg(long)]
    plan: bool,
}

/// Exit code 0: all invariants hold; 1: not.
///
/// # Errors
/// Where the run could not be carried out.
pub async fn command(options: Options) -> Result<ExitCode> {
    let length = options.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let settings = Settings {
        seed: options.seed.unwrap_or_else(|| rand::random_range(1..100_000)),
        jobs: length.map_or(options.jobs, Plan::jobs_in),
        apis: options.api.max(1),
        workers: options.workers.max(1),
        faults: !options.no_faults,
        replica_sets: options.replica_sets,
        clock_steps: options.clock_steps && !options.no_faults,
        profile: if options.release { Profile::Release } else { Profile::Dev },
    };
    if options.plan {
        print(format!("seed {}\n{}", settings.seed, settings.plan()).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("seed {}", settings.seed));
    let outcome = run(settings, print).await?;
    print(&format!("\n{}", outcome.summary));
    match outcome.folder {
        None => print(&format!("seed {}: all invariants hold", settings.seed)),
        Some(folder) => print(&format!(
            "seed {}: {} VIOLATIONS; databases, logs and histories are in {}",
            settings.seed,
            outcome.violations.len(),
            folder.display()
        )),
    }
    Ok(if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A closed pipe is no reason to stop.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
