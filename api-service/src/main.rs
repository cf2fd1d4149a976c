//! The api-service's executable: settings, logs, build, run.

use std::process::ExitCode;

use api_service::{App, settings::Settings};
use clap::{Parser, Subcommand};
use service_kit::{faults, probe, settings::EXIT_BAD_SETTINGS, shutdown, telemetry};

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
    /// Ask a running replica whether it is ready; the exit code answers.
    Healthcheck,
}

#[tokio::main]
async fn main() -> ExitCode {
    faults::setup();
    let command = Cli::parse().command.unwrap_or(Command::Serve);
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(wrong) => {
            eprintln!("api-service: wrong settings:\n{wrong}");
            return ExitCode::from(EXIT_BAD_SETTINGS);
        }
    };
    let done = match command {
        Command::Serve => serve(settings).await,
        Command::Healthcheck => probe::ready(settings.addr).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(&settings.log, settings.log_format);
    let stop = shutdown::on_signal()?;
    App::build(settings).await?.run(stop).await
}
