//! `cargo lab delayed`: how promptly jobs run whose time has come, when many are due in the same second and when some are
//! due all the time, and what ordinary jobs take meanwhile.

mod command;
mod lateness;
mod ordinary;
mod storm;

pub use command::{Options, command};

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use bson::Document;
use hasty_client::{Client, NewJob};
use hdrhistogram::Histogram;
use mongodb::Collection;
use shared_events::Timestamp;
use stack::{Profile, Stack};

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many jobs are due in the same second.
    pub jobs: usize,
    /// How many jobs are due each second, and for how long.
    pub rate: u32,
    /// See `rate`.
    pub seconds: u32,
    /// How many ordinary jobs are created each second meanwhile.
    pub ordinary: u32,
    /// Replicas of the api-service.
    pub api: usize,
    /// How the services are built.
    pub profile: Profile,
}

/// Times in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Result<Self> {
        let mut histogram = Histogram::new(3)?;
        for time in times {
            histogram.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))?;
        }
        Ok(Self(histogram))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        let (count, p50, p99) = (self.0.len(), ms(0.5), ms(0.99));
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, longest {:.1} ms of {count}", ms(1.0))
    }
}

/// Measures on a stack of its own. `say` gets a line at each step and for each figure.
///
/// # Errors
/// Where something could not be measured.
pub async fn run(settings: Settings, say: impl Fn(&str)) -> Result<()> {
    let stack = Stack::builder().api(settings.api).workers(1).profile(settings.profile).start().await?;
    let measured = async {
        if settings.jobs > 0 {
            storm::measure(&stack, settings, &say).await?;
        }
        if settings.rate > 0 {
            lateness::measure(&stack, settings, &say).await?;
        }
        anyhow::Ok(())
    };
    let measured = measured.await;
    stack.stop().await?;
    measured
}

/// The jobs of the api-service's database.
pub(crate) async fn jobs(stack: &Stack) -> Result<Collection<Document>> {
    let client = mongodb::Client::with_uri_str(stack.api_mongo().url()).await?;
    Ok(client.database("hasty_api").collection("jobs"))
}

/// Creates these jobs, a thousand at a time, over several connections.
pub(crate) async fn create(client: &Client, jobs: Vec<NewJob>) -> Result<()> {
    use futures::{StreamExt, TryStreamExt};
    let batches = jobs.chunks(1000).map(<[NewJob]>::to_vec).map(|batch| async move {
        for created in client.create_all(&batch).await? {
            created.map_err(|problem| anyhow::anyhow!("a job was refused: {problem}"))?;
        }
        anyhow::Ok(())
    });
    let batches: Vec<_> = batches.collect();
    futures::stream::iter(batches).buffer_unordered(4).try_collect::<()>().await.context("creating jobs")
}

/// Until then.
pub(crate) async fn sleep_until(time: Timestamp) {
    tokio::time::sleep(time.since(Timestamp::now())).await;
}
