//! Ordinary jobs beside those that are delayed: how long each takes from its request to its end.

use std::time::Duration;

use anyhow::{Context, Result};
use hasty_client::{Client, NewJob};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Times;

/// The longest that one is waited for.
const WAIT: Duration = Duration::from_secs(120);

/// Jobs that are created at a steady rate until told to stop.
pub(super) struct Ordinary {
    stop: CancellationToken,
    running: JoinHandle<Result<Vec<Duration>>>,
}

impl Ordinary {
    pub(super) fn start(client: &Client, rate: u32) -> Self {
        let (stop, client) = (CancellationToken::new(), client.clone());
        let running = tokio::spawn(create(client, rate, stop.clone()));
        Self { stop, running }
    }

    /// What they took.
    pub(super) async fn finish(self) -> Result<Times> {
        self.stop.cancel();
        Times::of(self.running.await??)
    }
}

async fn create(client: Client, rate: u32, stop: CancellationToken) -> Result<Vec<Duration>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut under_way, job) = (JoinSet::new(), NewJob::new("noop")?);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (client, job) = (client.clone(), job.clone());
        under_way.spawn(async move {
            let asked = Instant::now();
            let created = client.create(&job).await?;
            let ended = client.wait(created.id, WAIT).await?;
            anyhow::ensure!(ended.status.is_terminal(), "an ordinary job has not ended after {WAIT:?}");
            Ok(asked.elapsed())
        });
    }
    let mut took = Vec::new();
    while let Some(one) = under_way.join_next().await {
        took.push(one?.context("an ordinary job")?);
    }
    Ok(took)
}
