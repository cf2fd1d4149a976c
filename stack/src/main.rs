//! `cargo stack`: a whole Hasty on one machine, to try it or to work on it.

mod demo;
mod glance;
mod terminal;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(name = "cargo stack", about = "Runs a whole Hasty on this machine, on loopback only")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts NATS, MongoDB, nginx and the services, and stops them on Ctrl-C
    Up(up::Options),
    /// Starts everything, runs some jobs, shows how they end, and leaves nothing behind
    Demo(demo::Options),
    /// The same as `cargo lab bench`
    #[command(disable_help_flag = true)]
    Bench(PassedOn),
    /// The same as `cargo lab chaos`
    #[command(disable_help_flag = true)]
    Chaos(PassedOn),
    /// The same as `cargo hasty fsck`
    #[command(disable_help_flag = true)]
    Fsck(PassedOn),
}

/// Arguments for another program, whatever they are.
#[derive(clap::Args)]
struct PassedOn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl PassedOn {
    fn to(self, program: &str, command: &str) -> Result<ExitCode> {
        let arguments = std::iter::once(command.into()).chain(self.arguments);
        match stack::run_program(program, arguments)? {}
    }
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Up(options) => run(up::run(options)),
        Command::Demo(options) => run(demo::run(options)),
        Command::Bench(passed_on) => passed_on.to("lab", "bench"),
        Command::Chaos(passed_on) => passed_on.to("lab", "chaos"),
        Command::Fsck(passed_on) => passed_on.to("hasty", "fsck"),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(command);
    // A download that was interrupted is not waited for.
    runtime.shutdown_background();
    ended
}
