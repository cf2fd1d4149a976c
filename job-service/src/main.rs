//! The job-service's executable: settings, logs, build, run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use job_service::{
    App,
    chronicle::Chronicle,
    isolation,
    kinds::Registry,
    settings::{Settings, WorkerSettings},
};
use service_kit::{faults, outcome, probe, shutdown, telemetry};
use shared_events::WorkerId;

const SERVICE: &str = "job-service";

/// Runs Hasty's jobs.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Claim and run jobs until told to stop (the default).
    Serve,
    /// Ask a running worker whether it is ready; the exit code answers.
    Healthcheck,
    /// Make one attempt, ordered on standard input; what workers start for runs that lost two leases.
    #[command(hide = true)]
    Attempt,
}

fn main() -> std::io::Result<ExitCode> {
    faults::setup();
    shutdown::run_to_exit(run())
}

async fn run() -> ExitCode {
    let command = Cli::parse().command.unwrap_or(Command::Serve);
    let settings = match outcome::settings_or_exit(SERVICE, Settings::from_env()) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let done = match command {
        Command::Serve => serve(settings).await,
        Command::Healthcheck => probe::ready(settings.health_addr).await,
        Command::Attempt => attempt(&settings.worker).await,
    };
    outcome::exit_code(SERVICE, done)
}

async fn attempt(settings: &WorkerSettings) -> anyhow::Result<()> {
    let chronicle = Chronicle::open(settings.chronicle.as_deref(), &WorkerId::generate())?;
    isolation::serve_one(&Registry::new(settings.faults, &chronicle)).await
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(&settings.common.log, settings.common.log_format);
    let stop = shutdown::on_signal()?;
    App::build(settings).await?.run(stop).await
}
