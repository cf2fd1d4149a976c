//! `cargo stack up`: everything, until Ctrl-C.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use stack::traces::{Receiver, Span, tree};
use stack::{ALERTS, Builder, Profile, Stack, Watching};

use crate::{glance::Glance, terminal};

/// How long nothing has come of a trace that is shown, of one whose job has not ended, and how often that is looked at.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

/// The options of `up`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Replicas of the api-service
    #[arg(long, default_value_t = 2)]
    api: usize,
    /// Replicas of the job-service
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// The port on 127.0.0.1 that nginx listens on
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Keeps the data in this folder, one subfolder a server; without it the data is gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Members of the replica set of the api-service's MongoDB, such as 3; without it, one server alone
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, conflicts_with = "data")]
    api_mongo_replicas: usize,
    /// Has Prometheus watch it, with the alerts of this repository
    #[arg(long)]
    metrics: bool,
    /// Shows the trace of each job as a tree, once nothing more comes of it for a moment
    #[arg(long)]
    trace: bool,
    /// Builds the services with optimizations
    #[arg(long)]
    release: bool,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let stop_requested = stack::stop_requested()?;
    tokio::pin!(stop_requested);
    let begun = Instant::now();
    let glance = Glance::of_terminal();
    let traces = if options.trace { Some(Receiver::start()?) } else { None };
    let mut described = describe(&options, glance.clone())?;
    if let Some(traces) = &traces {
        described = described.traces(traces);
    }
    let stack = tokio::select! {
        stack = described.start() => stack?,
        () = &mut stop_requested => return Ok(ExitCode::SUCCESS),
    };
    println!("\n{}", welcome(&stack, &options, begun));

    tokio::select! {
        shown = at_a_glance(glance.as_ref(), stack.url()) => shown?,
        () = show_traces(traces.as_ref(), glance.as_ref()) => {}
        () = stop_requested => {}
    }
    println!("\nstopping; again Ctrl-C to kill");
    let again = stack::stop_requested()?;
    tokio::select! {
        stopped = stack.stop() => stopped?,
        () = again => println!("killed"),
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(options: &Options, glance: Option<Glance>) -> Result<Builder> {
    let profile = if options.release { Profile::Release } else { Profile::Dev };
    let mut stack = Stack::builder().api(options.api).workers(options.workers).port(options.port);
    stack = stack.api_mongo_replicas(options.api_mongo_replicas);
    stack = stack.profile(profile).work_dir(std::env::current_dir()?).supervise(true);
    stack = stack.sink(move |name, line| show(glance.as_ref(), name, line));
    if options.metrics {
        stack = stack.watching(Watching { rules: ALERTS.to_owned(), every: Duration::from_secs(5) });
    }
    if let Some(data) = &options.data {
        stack = stack.data(data);
    }
    // Somebody who tries it wants to see jobs go by; a service by itself logs only what is out of the ordinary.
    if std::env::var_os("LOG").is_none() {
        stack = stack.env("LOG", "info,job=debug,http=debug");
    }
    if terminal::is_watched() && std::env::var_os("LOG_FORMAT").is_none() {
        stack = stack.env("LOG_FORMAT", "text");
    }
    Ok(stack)
}

async fn at_a_glance(glance: Option<&Glance>, url: &str) -> Result<()> {
    match glance {
        Some(glance) => glance.show(url).await,
        None => std::future::pending().await,
    }
}

/// Shows traces that have a job in them, as trees.
async fn show_traces(traces: Option<&Receiver>, glance: Option<&Glance>) {
    let Some(traces) = traces else { return std::future::pending().await };
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        for spans in traces.take(is_over).iter().filter(|spans| has_job(spans)) {
            print(glance, &format!("\n{}", tree(spans)));
        }
    }
}

/// Whether no more is to come of a trace.
fn is_over(spans: &[Span], quiet: Duration) -> bool {
    const ENDS: [&str; 3] = ["process job:finished", "process job:failed", "process job:cancelled"];
    let has_ended = spans.iter().any(|span| ENDS.contains(&span.name.as_str()));
    quiet >= if has_ended || !has_job(spans) { QUIET } else { PATIENCE }
}

fn has_job(spans: &[Span]) -> bool {
    spans.iter().any(|span| span.attributes.contains_key("job.id"))
}

/// The services' lines and the stack's own. The servers' are in their files, and nginx speaks only in trouble.
fn show(glance: Option<&Glance>, name: &str, line: &str) {
    if !["nats", "api-mongo", "job-mongo", "prometheus"].iter().any(|server| name.starts_with(server)) {
        print(glance, &terminal::log_line(name, line));
    }
}

fn print(glance: Option<&Glance>, text: &str) {
    match glance {
        Some(glance) => glance.print(text),
        // A closed pipe (`| head`) is no reason to fail.
        None => drop(writeln!(std::io::stdout(), "{text}")),
    }
}

fn welcome(stack: &Stack, options: &Options, begun: Instant) -> String {
    let url = stack.url();
    let metrics = stack
        .prometheus()
        .map(|prometheus| format!("\n  Prometheus, with alerts: {}/alerts\n", prometheus.url()));
    let data = if options.data.is_some() { "kept in" } else { "until the end in" };
    format!(
        r#"Hasty is ready after {:.1} s, on {}

  curl -si {url}/v1/jobs -H 'content-type: application/json' \
       -d '{{"kind":"sleep","payload":{{"min_s":1,"max_s":3}}}}'
  curl -s  {url}/v1/jobs/<the id in the answer>

{}
  data and logs are {data} {}
  Ctrl-C stops everything
"#,
        begun.elapsed().as_secs_f32(),
        terminal::coloured(url, 1),
        metrics.unwrap_or_default(),
        stack.folder().display(),
    )
}
