//! The api-service's executable: settings, logs, build, run.

use std::process::ExitCode;

use api_service::{App, check::check, settings::Settings};
use clap::{Parser, Subcommand};
use service_kit::{failpoints, health, process, settings::ReadOut, telemetry};

const SERVICE: &str = "api-service";

/// Takes jobs over HTTP and shows how they end.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP until told to stop (the default).
    Serve,
    /// Print which settings hold and where each comes from; secrets are masked.
    Config,
    /// Look whether all that is needed is there and as it should be; the exit code answers.
    Check {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask a running replica whether it is ready; the exit code answers.
    Healthcheck,
}

fn main() -> std::io::Result<ExitCode> {
    failpoints::setup();
    process::run_to_exit(run())
}

async fn run() -> ExitCode {
    let command = Cli::parse().command.unwrap_or(Command::Serve);
    let ReadOut { values: settings, effective, .. } = match process::settings_or_exit::<Settings>(SERVICE) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let done = match command {
        Command::Config => process::print_settings(&effective),
        Command::Check { json } => check(&settings).await.print(json),
        Command::Serve => serve(settings).await,
        Command::Healthcheck => health::check(settings.addr).await,
    };
    process::exit_code(SERVICE, done)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let _telemetry = telemetry::start(&settings.common.log, &settings.common.traces, SERVICE)?;
    let stop = process::on_signal()?;
    App::build(settings).await?.run(stop).await
}
