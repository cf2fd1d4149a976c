//! `cargo stack`: a whole Hasty on one machine, to try it or to work on it.

mod bench;
mod demo;
mod terminal;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

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
    /// Measures throughput, latency and CPU per job of a fresh, optimized stack over HTTP
    Bench(Box<bench::Options>),
    /// Runs jobs while everything is killed, paused, cut off and set back, and checks that the promises held
    Chaos(stack::chaos::Options),
    /// Proves that every job of a running system has what will move it on, and that both databases agree
    Fsck(stack::fsck::Options),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match command {
        // The load generator is to take no more of the machine than it must.
        Command::Bench(_) => Builder::new_current_thread().enable_all().build(),
        _ => Runtime::new(),
    };
    let runtime = runtime.expect("a runtime can be started");
    let ended = runtime.block_on(async {
        match command {
            Command::Up(options) => up::run(options).await,
            Command::Demo(options) => demo::run(options).await,
            Command::Bench(options) => bench::run(*options).await,
            Command::Chaos(options) => stack::chaos::command(options).await,
            Command::Fsck(options) => stack::fsck::command(options).await,
        }
    });
    // A download that was interrupted is not waited for.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
