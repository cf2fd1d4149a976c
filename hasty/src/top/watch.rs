//! Asks the API once a second, whether or not it answers.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use hasty_client::{Client, Error, Filter, Job, QueueState, Stats, Timestamp, WorkerList};
use tokio::{sync::mpsc, time::MissedTickBehavior};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// How many queues, and how many jobs, are shown at most.
const MOST: usize = 100;

/// What the API has answered.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) stats: Stats,
    pub(super) workers: WorkerList,
    /// In order of their names.
    pub(super) queues: Vec<QueueState>,
    /// The newest first.
    pub(super) jobs: Vec<Job>,
    /// When, by this machine's clock.
    pub(super) at: Timestamp,
}

/// Answers, or why there is none, until nobody listens any more.
pub(super) fn watch(client: Client) -> mpsc::Receiver<Result<Snapshot, String>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seen = look(&client).await.map_err(|error| reason(&error));
            if sender.send(seen).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn look(client: &Client) -> Result<Snapshot, Error> {
    let filter = Filter::default();
    let (stats, workers, queues, jobs) = tokio::try_join!(
        client.stats(),
        client.workers(),
        client.queues().take(MOST).try_collect(),
        client.list(&filter).take(MOST).try_collect(),
    )?;
    Ok(Snapshot { stats, workers, queues, jobs, at: Timestamp::now() })
}

/// An error with all its sources, in one line.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
