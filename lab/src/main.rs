//! `cargo lab`: tries Hasty hard, on this machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab::{bench, chaos, delayed, overload, users};
use tokio::runtime::{Builder, Runtime};

#[derive(Parser)]
#[command(name = "cargo lab", about = "Tries a whole Hasty hard, on this machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures throughput, latency and CPU per job of a fresh, optimized stack over HTTP
    Bench(Box<bench::Options>),
    /// Runs jobs while everything is killed, paused, cut off and set back, and checks that the promises held
    Chaos(chaos::Options),
    /// Measures how promptly jobs run whose time has come, and what ordinary ones take meanwhile
    Delayed(delayed::Options),
    /// Sends several times as many jobs as it can take, and says what it answers and how soon it is itself again
    Overload(overload::Options),
    /// Kills each member of a replica set in turn while users are created, read and changed, and says what stood still
    Users(users::Options),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = match command {
        // The load generator is to take no more of the machine than it must.
        Command::Bench(_) | Command::Overload(_) => Builder::new_current_thread().enable_all().build(),
        Command::Chaos(_) | Command::Delayed(_) | Command::Users(_) => Runtime::new(),
    };
    let runtime = runtime.expect("a runtime can be started");
    let ended = runtime.block_on(async {
        match command {
            Command::Bench(options) => bench::command(*options).await,
            Command::Chaos(options) => chaos::command(options).await,
            Command::Delayed(options) => delayed::command(options).await,
            Command::Overload(options) => overload::command(options).await,
            Command::Users(options) => users::command(options).await,
        }
    });
    // A download that was interrupted is not waited for.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
