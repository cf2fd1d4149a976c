//! `hasty`: the command line for those who run Hasty.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hasty::{fsck, jobs};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(name = "hasty", about = "For those who run Hasty")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Proves that every job of a running system has what will move it on, and that both databases agree
    Fsck(fsck::Options),
    /// Creates jobs, and shows how far they are
    Jobs(jobs::Options),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = Runtime::new().expect("a runtime can be started");
    let ended = runtime.block_on(async {
        match command {
            Command::Fsck(options) => fsck::command(options).await,
            Command::Jobs(options) => jobs::command(options).await,
        }
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
