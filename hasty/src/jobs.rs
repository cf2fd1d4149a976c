//! `hasty jobs`: creating jobs and seeing how far they are, over HTTP.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use hasty_client::{Client, Filter, Job, JobId, Kind, NewJob, Priority, Queue, Status, Timestamp};
use serde_json::value::RawValue;

/// The options of `jobs`.
#[derive(Debug, Args)]
pub struct Options {
    /// The address of the API
    #[arg(long, env = "HASTY_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates a job and shows it
    Create(Create),
    /// Shows a job
    Get {
        /// The job's id
        id: JobId,
        /// Waits until it has ended, for so many seconds at most
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Lists jobs, newest first, a line each
    List(List),
    /// Has a job cancelled and shows how far that is
    Cancel {
        /// The job's id
        id: JobId,
        /// Why; the job shows it
        #[arg(long)]
        reason: Option<String>,
    },
    /// Starts the next run of a job that has ended
    Retry {
        /// The job's id
        id: JobId,
    },
    /// Deletes a job that has ended
    Delete {
        /// The job's id
        id: JobId,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// Who does the work
    kind: String,
    /// The handler's input, a JSON object
    #[arg(long, default_value = "{}")]
    payload: String,
    /// Where to send it
    #[arg(long)]
    queue: Option<Queue>,
    /// How urgent it is: high, normal or low
    #[arg(long)]
    priority: Option<Priority>,
    /// What it is about
    #[arg(long)]
    object_id: Option<String>,
    /// How long one attempt may take, in seconds
    #[arg(long)]
    timeout_s: Option<u32>,
    /// How many attempts may count
    #[arg(long)]
    max_attempts: Option<u32>,
    /// How long it is kept after its end, in seconds
    #[arg(long)]
    keep_s: Option<u32>,
    /// When to run it, such as 2026-12-24T18:00:00Z
    #[arg(long)]
    run_at: Option<Timestamp>,
    /// After how many seconds to run it
    #[arg(long, conflicts_with = "run_at")]
    delay_s: Option<u32>,
    /// Within how many seconds an attempt is to begin
    #[arg(long)]
    start_within_s: Option<u32>,
    /// The same key with the same job creates it once
    #[arg(long)]
    idempotency_key: Option<String>,
    /// Waits until it has ended, for so many seconds at most
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

#[derive(Debug, Args)]
struct List {
    /// One of these states
    #[arg(long, value_delimiter = ',')]
    status: Vec<Status>,
    /// This queue
    #[arg(long)]
    queue: Option<Queue>,
    /// This kind
    #[arg(long)]
    kind: Option<Kind>,
    /// This object
    #[arg(long)]
    object_id: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Does what is asked for. A job that was waited for and did not finish is a failure.
///
/// # Errors
/// Where the service does not answer, or refuses.
pub async fn command(options: Options) -> Result<ExitCode> {
    let client = Client::new(&options.url)?;
    let job = match options.command {
        Command::Create(create) => create.run(&client).await?,
        Command::Get { id, wait: None } => client.get(id).await?,
        Command::Get { id, wait: Some(seconds) } => client.wait(id, Duration::from_secs(seconds)).await?,
        Command::List(list) => return list.run(&client).await,
        Command::Cancel { id, reason } => client.cancel(id, reason.as_deref()).await?,
        Command::Retry { id } => client.retry(id).await?,
        Command::Delete { id } => {
            client.delete(id).await?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    println!("{}", serde_json::to_string_pretty(&job)?);
    Ok(if matches!(job.status, Status::Failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Create {
    async fn run(self, client: &Client) -> Result<Job> {
        let payload: Box<RawValue> = serde_json::from_str(&self.payload).context("--payload is not JSON")?;
        let mut job = NewJob::new(&self.kind)?.payload(&payload)?;
        if let Some(queue) = self.queue {
            job = job.queue(queue);
        }
        if let Some(priority) = self.priority {
            job = job.priority(priority);
        }
        if let Some(object_id) = self.object_id {
            job = job.object_id(object_id);
        }
        if let Some(seconds) = self.timeout_s {
            job = job.timeout_s(seconds);
        }
        if let Some(attempts) = self.max_attempts {
            job = job.max_attempts(attempts);
        }
        if let Some(keep_s) = self.keep_s {
            job = job.keep_s(keep_s);
        }
        if let Some(run_at) = self.run_at {
            job = job.run_at(run_at);
        }
        if let Some(delay_s) = self.delay_s {
            job = job.delay_s(delay_s);
        }
        if let Some(seconds) = self.start_within_s {
            job = job.start_within_s(seconds);
        }
        let created = match self.idempotency_key {
            Some(key) => client.create_with_key(&job, &key).await?,
            None => client.create(&job).await?,
        };
        Ok(match self.wait {
            Some(seconds) => client.wait(created.id, Duration::from_secs(seconds)).await?,
            None => created,
        })
    }
}

impl List {
    async fn run(self, client: &Client) -> Result<ExitCode> {
        let Self { status, queue, kind, object_id, limit } = self;
        let filter = Filter { status, queue, kind, object_id, ..Filter::default() };
        let mut jobs = std::pin::pin!(client.list(&filter).take(limit));
        while let Some(job) = jobs.try_next().await? {
            let Job { id, kind, queue, status, created_at, .. } = job;
            println!("{id}  {created_at}  {:<9}  {queue}  {kind}", status.as_str());
        }
        Ok(ExitCode::SUCCESS)
    }
}
