//! `cargo stack demo`: everything is started, jobs are created through nginx and watched to their ends.

mod client;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stack::{Profile, Stack};

use crate::terminal;
use client::{Client, Created, Job};
use table::Table;

const TIMEOUT: Duration = Duration::from_secs(60);
const LINES_SHOWN: usize = 10;

/// The options of `demo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Builds the services with optimizations
    #[arg(long)]
    release: bool,
}

/// A job of the demo, and how it has to end.
struct DemoJob {
    title: &'static str,
    request: Value,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Finished,
    CancelledFor(&'static str),
}

impl End {
    fn is_of(self, job: &Job) -> bool {
        match self {
            Self::Finished => job.status == "finished",
            Self::CancelledFor(reason) => job.status == "cancelled" && job.reason.as_deref() == Some(reason),
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let stop_requested = stack::stop_requested()?;
    tokio::select! {
        code = start_and_show(&options) => code,
        () = stop_requested => Ok(ExitCode::from(130)),
    }
}

async fn start_and_show(options: &Options) -> Result<ExitCode> {
    let profile = if options.release { Profile::Release } else { Profile::Dev };
    println!("starting nats-server, two mongod, nginx, two api-services and two job-services …");
    let begun = Instant::now();
    let stack = Stack::builder().profile(profile).work_dir(std::env::current_dir()?).start().await?;
    println!(
        "ready after {:.1} s on {}\n",
        begun.elapsed().as_secs_f32(),
        terminal::coloured(stack.url(), 1)
    );

    let shown = show(&stack).await;
    if !matches!(shown, Ok(true)) {
        eprintln!("\nwhat the parts said last:\n{}", stack.tails(LINES_SHOWN));
    }
    stack.stop().await?;
    let as_expected = shown?;
    println!(
        "\n{}",
        if as_expected { "all ended as expected; nothing is left running" } else { "not as expected" }
    );
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn demo_jobs() -> Vec<DemoJob> {
    let sleep = || DemoJob {
        title: "sleeps for 1 to 3 s",
        request: json!({"kind": "sleep", "payload": {"min_s": 1, "max_s": 3}}),
        end: End::Finished,
    };
    let shuffle = |text: &str| DemoJob {
        title: "shuffles a text",
        request: json!({"kind": "shuffle", "payload": {"text": text, "pause_s": 1}}),
        end: End::Finished,
    };
    let noop = || DemoJob { title: "does nothing", request: json!({"kind": "noop"}), end: End::Finished };
    let timeout = DemoJob {
        title: "sleeps for 30 s, may take 2",
        request: json!({"kind": "sleep", "payload": {"min_s": 30, "max_s": 30}, "timeout_s": 2}),
        end: End::CancelledFor("timeout"),
    };
    vec![sleep(), sleep(), sleep(), shuffle("make haste slowly"), shuffle("hasty"), noop(), noop(), timeout]
}

/// Creates the jobs, shows them to their ends; whether all went as expected.
async fn show(stack: &Stack) -> Result<bool> {
    let client = Client::new(stack.url())?;
    let refused = refuses_a_duplicate(&client).await?;

    let (mut table, mut ends) = (Table::new(terminal::is_watched()), Vec::new());
    for demo_job in demo_jobs() {
        match client.create(&demo_job.request).await? {
            Created::Job(job) => table.add(demo_job.title, job),
            Created::Refused { status, .. } => {
                anyhow::bail!("a job that {} was refused: {status}", demo_job.title)
            }
        }
        ends.push(demo_job.end);
    }
    let deadline = Instant::now() + TIMEOUT;
    while !table.is_over() && Instant::now() < deadline {
        for id in table.open() {
            table.update(client.job(&id).await?);
        }
        table.draw();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("\nresults:");
    let mut as_expected = refused;
    for (end, (title, job)) in ends.into_iter().zip(table.jobs()) {
        let good = end.is_of(job);
        as_expected &= good;
        let mark = if good { terminal::coloured("✓", 32) } else { terminal::coloured("✗", 31) };
        println!("  {mark} {title:<28} {}", job.outcome());
    }
    Ok(as_expected)
}

/// The same object twice within the window: the second is refused, with the first one's id.
async fn refuses_a_duplicate(client: &Client) -> Result<bool> {
    let request = json!({"kind": "noop", "object_id": "invoice-4711"});
    let Created::Job(first) = client.create(&request).await.context("could not create the first job")? else {
        anyhow::bail!("the first job for an object was refused");
    };
    println!("a job for the object invoice-4711 was created: {}", first.id);
    match client.create(&request).await? {
        Created::Refused { status: 409, body } => {
            println!("a second one was refused, as it should be:    409 {body}\n");
            Ok(true)
        }
        Created::Refused { status, body } => {
            println!("a second one got an unexpected answer: {status} {body}\n");
            Ok(false)
        }
        Created::Job(second) => {
            println!("a second one was created, which is wrong: {}\n", second.id);
            Ok(false)
        }
    }
}
