//! `cargo lab bench`: what a fresh stack, built with optimizations, can do over HTTP through nginx.
//!
//! A job's time runs from just before its request is sent to the broadcast that says that the api-service
//! has stored its terminal status; CPU time is counted for every process. Everything shares this machine's cores, the load
//! generator too: it is a single thread, and its own cost is shown.

pub(crate) mod client;
mod commands;
mod ends;
mod growth;
pub(crate) mod latency;
mod limits;
mod load;
mod observed;
mod report;
mod run;
mod stored;
mod submit;
mod table;
pub(crate) mod usage;
mod verify;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use stack::{Builder, Profile, Stack};

use commands::Databases;
use ends::Ends;
use observed::Observer;
use report::{Machine, Measured, Report};
use run::{Bench, Run};
use submit::Request;

/// Jobs before the first measured run: connections are made, pools filled, files laid out.
const WARM_UP: usize = 2000;

/// The options of `bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many jobs a run has
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// How many connections send requests, each one at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Each job in a request of its own, or in batches
    #[arg(long, value_enum, default_value_t = Submit::Single)]
    submit: Submit,
    /// How many jobs a batch has
    #[arg(long, default_value_t = 100)]
    batch_size: usize,
    /// Replicas of the api-service
    #[arg(long, default_value_t = 2)]
    api: usize,
    /// Replicas of the job-service
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// How often it is measured; the median is shown
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The jobs' kind
    #[arg(long, default_value = "noop")]
    kind: String,
    /// Measures latency at so many jobs a second instead
    #[arg(long, value_name = "JOBS_PER_S")]
    rate: Option<f64>,
    /// For how long, with --rate
    #[arg(long, default_value_t = 20, requires = "rate")]
    seconds: u64,
    /// Measures the components by themselves too, and gives the result as a share of what they can do
    #[arg(long)]
    limits: bool,
    /// Stores so many finished jobs first
    #[arg(long, value_name = "JOBS", default_value_t = 0)]
    stored: usize,
    /// Measures memory with 10,000 jobs running and 100,000 waiting, idle cost and start-up instead
    #[arg(long)]
    growth: bool,
    /// Has metrics read every five seconds, logs sent over TCP, and this share of the traces (0 to 1) sent
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "growth")]
    observed: Option<f64>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Submit {
    Single,
    Batch,
}

/// Measures, and prints a report. Where this program is not optimized, it becomes one that is.
///
/// # Errors
/// Where something could not be measured.
pub async fn command(options: Options) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        eprintln!("building with optimizations …");
        let program = stack::build_program("lab", Profile::Release).await?;
        let failed = Command::new(program).args(std::env::args_os().skip(1)).exec();
        return Err(failed).context("could not run the optimized program");
    }
    let stop_requested = stack::stop_requested()?;
    tokio::select! {
        report = measure(&options) => {
            let report = report?;
            if options.json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{}", report.text());
            }
            Ok(ExitCode::SUCCESS)
        }
        () = stop_requested => Ok(ExitCode::from(130)),
    }
}

async fn measure(options: &Options) -> Result<Report> {
    ensure!(options.connections > 0 && options.jobs > 0 && options.batch_size > 0, "nothing to send");
    let mut report = Report {
        command: std::iter::once("cargo lab".into())
            .chain(std::env::args().skip(1))
            .collect::<Vec<_>>()
            .join(" "),
        machine: Machine::here(),
        stored: options.stored,
        runs: Vec::new(),
        median: None,
        limits: None,
        growth: None,
    };
    if options.growth {
        report.growth = Some(growth::measure(describe(options), options.workers, options.connections).await?);
        return Ok(report);
    }
    let mut observer = match options.observed {
        Some(_) => Some(Observer::start().await?),
        None => None,
    };
    let stack = describe(options);
    let stack = match (&observer, options.observed) {
        (Some(observer), Some(share)) => observer.watches(stack, share),
        _ => stack,
    };
    let stack = stack.start().await?;
    if let Some(observer) = &mut observer {
        observer.reads_metrics(&stack)?;
    }
    let measured = measure_on(&stack, options, &mut report).await;
    if measured.is_err() {
        for replica in stack.apis().iter().chain(stack.workers()) {
            eprintln!("{} said last:\n{}", replica.name(), replica.log().tail(3));
        }
    }
    stack.stop().await?;
    measured?;
    if let (Some(observer), Some(share)) = (&observer, options.observed) {
        eprintln!("{}", observer.seen(share)?);
    }
    Ok(report)
}

/// The stack of `cargo stack up --release`, but that it is in a folder of its own, without anybody's `.env`.
fn describe(options: &Options) -> Builder {
    Stack::builder().api(options.api).workers(options.workers).profile(Profile::Release)
}

async fn measure_on(stack: &Stack, options: &Options, report: &mut Report) -> Result<()> {
    let address = address_of(stack)?;
    if options.stored > 0 {
        eprintln!("storing {} jobs …", options.stored);
        stored::fill(stack.api_mongo().url(), address, options.stored).await?;
    }
    let ends = Ends::subscribe(stack.nats().url()).await?;
    let databases = Databases::of(stack).await?;
    let bench = Bench { stack, address, connections: options.connections, ends, databases };
    eprintln!("warming up …");
    one_run(&bench, options, WARM_UP.min(options.jobs)).await?;
    for number in 1..=options.runs {
        eprintln!("run {number} of {} …", options.runs);
        let run = match options.rate {
            Some(rate) => {
                let request = Request::single(address, &job(options));
                bench
                    .run(load::steadily(address, request, rate, Duration::from_secs(options.seconds)))
                    .await?
            }
            None => one_run(&bench, options, options.jobs).await?,
        };
        report.runs.push(run);
    }
    report.median = report::median(&report.runs);
    if options.limits {
        eprintln!("measuring the components …");
        let limits = limits::measure(stack, address).await?;
        let jobs_per_s = report.median.as_ref().map_or(0.0, |run| run.jobs_per_s);
        let jobs_per_request = if options.submit == Submit::Batch { options.batch_size as f64 } else { 1.0 };
        report.limits = Some(Measured::new(limits, jobs_per_s, jobs_per_request));
    }
    Ok(())
}

async fn one_run(bench: &Bench<'_>, options: &Options, jobs: usize) -> Result<Run> {
    let requests = requests(bench.address, options, jobs);
    bench.run(load::all_at_once(bench.address, options.connections, requests)).await
}

fn requests(address: SocketAddr, options: &Options, jobs: usize) -> Vec<Request> {
    let job = job(options);
    match options.submit {
        Submit::Single => vec![Request::single(address, &job); jobs],
        Submit::Batch => {
            let mut requests =
                vec![Request::batch(address, &job, options.batch_size); jobs / options.batch_size];
            let rest = jobs % options.batch_size;
            if rest > 0 {
                requests.push(Request::batch(address, &job, rest));
            }
            requests
        }
    }
}

fn job(options: &Options) -> serde_json::Value {
    json!({ "kind": options.kind })
}

fn address_of(stack: &Stack) -> Result<SocketAddr> {
    let address = stack.url().trim_start_matches("http://");
    address.parse().with_context(|| format!("{address} is no address"))
}
