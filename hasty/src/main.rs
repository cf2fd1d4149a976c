//! `hasty`: the command line for those who run Hasty.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hasty::{fsck, jobs, replica_set, top, transfer};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(name = "hasty", about = "For those who run Hasty")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes all there is as lines of JSON
    Export(transfer::ExportOptions),
    /// Proves that every job of a running system has what will move it on, and that both databases agree
    Fsck(fsck::Options),
    /// Takes in lines that an export has written; the same line twice changes nothing
    Import(transfer::ImportOptions),
    /// Creates jobs, and shows how far they are
    Jobs(jobs::Options),
    /// Makes a replica set of MongoDB servers that were started for one; a set that is there stays as it is
    ReplicaSet(replica_set::Options),
    /// Shows the workers, queues and latest jobs on the whole screen, anew each second
    Top(top::Options),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let runtime = Runtime::new().expect("a runtime can be started");
    let ended = runtime.block_on(async {
        match command {
            Command::Export(options) => transfer::export(options).await,
            Command::Fsck(options) => fsck::command(options).await,
            Command::Import(options) => transfer::import(options).await,
            Command::Jobs(options) => jobs::command(options).await,
            Command::ReplicaSet(options) => replica_set::command(options).await,
            Command::Top(options) => top::command(options).await,
        }
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
