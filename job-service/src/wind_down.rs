//! Stopping, all under one deadline: what is not settled by then is left to leases and to redelivery.

use std::{pin::pin, time::Duration};

use actix_web::dev::ServerHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{fetch::Fetcher, held::Stop};

/// How long everything may take that comes after the grace.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// How much of that is left to what comes after the recording of outcomes.
const AFTER_RECORDING: Duration = Duration::from_secs(2);

/// How long what works in the background may take to come to an end. A database that hangs can keep it for ever.
const KEEPERS: Duration = Duration::from_secs(2);

/// What is to be stopped.
pub(crate) struct Stopping {
    pub(crate) fetcher: Fetcher,
    pub(crate) concurrency: usize,
    /// How long a message that a newer version may have written is given back before it is set aside.
    pub(crate) unreadable_wait: Duration,
    /// Stops the keepers.
    pub(crate) keep: CancellationToken,
    pub(crate) keepers: TaskTracker,
    pub(crate) health: ServerHandle,
}

impl Stopping {
    /// Fetches until told to stop, then winds down.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut fetching = pin!(crate::fetch_when_ready(&self.fetcher, self.unreadable_wait, stop));
        let fetches = tokio::select! {
            () = &mut fetching => false,
            () = stop.cancelled() => true,
        };
        let grace = self.fetcher.runner.settings.shutdown_grace;
        let deadline = Instant::now() + grace + LAST_WORDS;
        let winding_down = async {
            // Not cut off in the middle: what is being fetched or claimed would wait for a lease's end.
            if fetches {
                let _ = timeout(LAST_WORDS, fetching).await;
            }
            self.wind_down(deadline).await;
        };
        if timeout_at(deadline, winding_down).await.is_err() {
            warn!("not everything could be settled in time; leases and redelivery do the rest");
        }
    }

    /// Lets the running finish, gives the rest back, announces what it can, and ends what works in the background.
    async fn wind_down(&self, deadline: Instant) {
        let (runner, tasks) = (&self.fetcher.runner, &self.fetcher.tasks);
        tasks.close();
        let grace = runner.settings.shutdown_grace;
        let running = self.concurrency - self.fetcher.slots.available_permits();
        info!(running, grace_s = grace.as_secs_f64(), "no new jobs; letting the running finish");
        if timeout_at(deadline - LAST_WORDS, tasks.wait()).await.is_err() {
            info!(running = runner.held.all().len(), "giving back what still runs");
            runner.held.stop_all(Stop::Shutdown);
            if timeout_at(deadline - AFTER_RECORDING, tasks.wait()).await.is_err() {
                warn!(left = tasks.len(), "could not give everything back; their leases will end");
            }
        }
        runner.abandon.cancel();
        self.keep.cancel();
        self.keepers.close();
        let keepers = timeout(KEEPERS, self.keepers.wait());
        let (announced, ended) = tokio::join!(timeout(KEEPERS, runner.relay.finish()), keepers);
        if announced.is_err() {
            warn!("some outcomes are not announced; another replica will do it");
        }
        if ended.is_err() {
            warn!(left = self.keepers.len(), "not all that works in the background came to an end");
        }
        self.fetcher.broker.nats().flush().await;
        self.health.stop(true).await;
    }
}
