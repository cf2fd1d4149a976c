//! `cargo stack demo`: everything is started, jobs are created through nginx and watched to their ends.

mod container;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hasty_client::{Client, Error, Job, NewJob, Settings, Status};
use serde_json::json;
use stack::{Profile, Stack};

use crate::terminal;
use container::Engine;
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
    request: NewJob,
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
            Self::Finished => job.status == Status::Finished,
            Self::CancelledFor(reason) => {
                job.status == Status::Cancelled && job.reason.is_some_and(|given| given.as_str() == reason)
            }
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
    let engine = Engine::find().await;
    let mut builder = Stack::builder().profile(profile).env("COMMAND_ALLOW", "sh");
    if let Ok(engine) = &engine {
        builder = builder.env("CONTAINER_ENGINE", engine.address()).env("CONTAINER_IMAGES", engine.image);
    }
    let stack = builder.work_dir(std::env::current_dir()?).start().await?;
    println!(
        "ready after {:.1} s on {}\n",
        begun.elapsed().as_secs_f32(),
        terminal::coloured(stack.url(), 1)
    );

    if let Err(why) = &engine {
        println!("no container is shown: {why}\n");
    }
    let shown = show(&stack, engine.as_ref().ok()).await;
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

fn demo_jobs(engine: Option<&Engine>) -> Result<Vec<DemoJob>> {
    let sleep =
        |min_s: u32, max_s: u32| NewJob::new("sleep")?.payload(&json!({ "min_s": min_s, "max_s": max_s }));
    let short = || Ok(DemoJob { title: "sleeps for 1 to 3 s", request: sleep(1, 3)?, end: End::Finished });
    let shuffle = |text: &str| {
        let request = NewJob::new("shuffle")?.payload(&json!({ "text": text, "pause_s": 1 }))?;
        Ok(DemoJob { title: "shuffles a text", request, end: End::Finished })
    };
    let noop = || Ok(DemoJob { title: "does nothing", request: NewJob::new("noop")?, end: End::Finished });
    let script = json!({ "program": "sh", "args": ["-c", "echo \"$(uname -sm), as $(id -un)\""] });
    let program = DemoJob {
        title: "runs a program",
        request: NewJob::new("command")?.payload(&script)?,
        end: End::Finished,
    };
    let contained = engine.map(|engine| {
        let script = json!({ "image": engine.image, "script": ["echo \"$(uname -sm), with $(ls /sys/class/net | wc -l) network device\""] });
        let request = NewJob::new("container")?.payload(&script)?;
        Ok(DemoJob { title: "runs a container", request, end: End::Finished })
    });
    let late = DemoJob {
        title: "sleeps for 30 s, may take 2",
        request: sleep(30, 30)?.timeout_s(2),
        end: End::CancelledFor("timeout"),
    };
    let others: [Result<DemoJob, Error>; 7] =
        [short(), short(), short(), shuffle("make haste slowly"), shuffle("hasty"), noop(), noop()];
    let programs = [Ok(program)].into_iter().chain(contained);
    Ok(others.into_iter().chain(programs).chain([Ok(late)]).collect::<Result<_, _>>()?)
}

/// Creates the jobs, shows them to their ends; whether all went as expected.
async fn show(stack: &Stack, engine: Option<&Engine>) -> Result<bool> {
    let client = Client::with_settings(stack.url(), Settings { proxies: false, ..Settings::default() })?;
    let refused = refuses_a_duplicate(&client).await?;

    let (mut table, mut ends) = (Table::new(terminal::is_watched()), Vec::new());
    for DemoJob { title, request, end } in demo_jobs(engine)? {
        let job = client.create(&request).await.with_context(|| format!("a job that {title}"))?;
        table.add(title, job);
        ends.push(end);
    }
    let deadline = Instant::now() + TIMEOUT;
    while !table.is_over() && Instant::now() < deadline {
        for id in table.open() {
            table.update(client.get(id).await?);
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
        println!("  {mark} {title:<28} {}", table::outcome(job));
    }
    Ok(as_expected)
}

/// The same object twice within the window: the second is refused, with the first one's id.
async fn refuses_a_duplicate(client: &Client) -> Result<bool> {
    let request = NewJob::new("noop")?.object_id("invoice-4711");
    let first = client.create(&request).await.context("could not create the first job")?;
    println!("a job for the object invoice-4711 was created: {}", first.id);
    match client.create(&request).await {
        Err(Error::Problem(problem)) if problem.code == "duplicate_object" => {
            println!("a second one was refused, as it should be:    {problem}\n");
            Ok(true)
        }
        Err(error) => {
            println!("a second one got an unexpected answer: {error}\n");
            Ok(false)
        }
        Ok(second) => {
            println!("a second one was created, which is wrong: {}\n", second.id);
            Ok(false)
        }
    }
}
