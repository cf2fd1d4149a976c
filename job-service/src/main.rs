//! The job-service's executable: settings, logs, build, run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use job_service::{
    App,
    check::check,
    history::History,
    kinds::{self, Registry},
    settings::{Settings, WorkerSettings},
    worker,
};
use service_kit::{failpoints, health, process, settings::ReadOut, telemetry};
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
    /// Take what waits now, run it, and end; for timers of the system.
    Once,
    /// Print which settings hold and where each comes from; secrets are masked.
    Config,
    /// Look whether all that is needed is there and as it should be; the exit code answers.
    Check {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask a running worker whether it is ready; the exit code answers.
    Healthcheck,
    /// Make one attempt, ordered on standard input; what workers start for runs that lost two leases.
    #[command(hide = true)]
    Attempt,
    /// Run one program, ordered on standard input; what workers start for jobs of kind `command`.
    #[command(hide = true)]
    Supervise,
    /// Become a program within limits; what supervisors start.
    #[command(hide = true)]
    Launch {
        /// Its limits, as JSON.
        plan: String,
        /// Its arguments.
        #[arg(last = true)]
        args: Vec<String>,
    },
}

fn main() -> std::io::Result<ExitCode> {
    let command = match Cli::parse().command.unwrap_or(Command::Serve) {
        // These know no settings: a program must not find them in their environments.
        Command::Supervise => return Ok(kinds::supervise()),
        Command::Launch { plan, args } => return Ok(kinds::launch(&plan, &args)),
        command => command,
    };
    failpoints::setup();
    process::run_to_exit(run(command))
}

async fn run(command: Command) -> ExitCode {
    let ReadOut { values: settings, effective, .. } = match process::settings_or_exit::<Settings>(SERVICE) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let done = match command {
        Command::Config => process::print_settings(&effective),
        Command::Check { json } => check(&settings).await.print(json),
        Command::Serve => serve(settings).await,
        Command::Once => once(settings).await,
        Command::Healthcheck => health::check(settings.health_addr).await,
        Command::Attempt => attempt(&settings.worker).await,
        Command::Supervise | Command::Launch { .. } => {
            unreachable!("they are done before there are settings")
        }
    };
    process::exit_code(SERVICE, done)
}

async fn attempt(settings: &WorkerSettings) -> anyhow::Result<()> {
    let history = History::open(settings.history.as_deref(), &WorkerId::generate())?;
    worker::serve_one(&Registry::new(settings, &history)?).await
}

async fn once(mut settings: Settings) -> anyhow::Result<()> {
    // Beside a worker that has the addresses.
    settings.health_addr.set_port(0);
    settings.common.metrics_addr = None;
    let _telemetry = telemetry::start(&settings.common.log, &settings.common.traces, SERVICE)?;
    let stop = process::on_signal()?;
    App::build(settings).await?.run_once(stop).await
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let _telemetry = telemetry::start(&settings.common.log, &settings.common.traces, SERVICE)?;
    let stop = process::on_signal()?;
    App::build(settings).await?.run(stop).await
}
