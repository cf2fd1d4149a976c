//! Stopping, all under one deadline: what is not settled by then is left to leases and to redelivery.

use std::{pin::pin, time::Duration};

use actix_web::dev::ServerHandle;
use service_kit::BackgroundTasks;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Worker, active_runs::StopReason};

/// How long everything may take that comes after the grace: a handler's own grace and the moment in which a blocked
/// one may let go of its thread (see [`super::execute`]), and what comes after that.
const LAST_STEPS: Duration = Duration::from_secs(7);

/// How much of that is left to what comes after the recording of outcomes.
const AFTER_RECORDING: Duration = Duration::from_secs(2);

/// How long background tasks may take to come to an end. A database that hangs can keep one for ever.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// What is to be stopped.
pub(crate) struct Stopping {
    pub(crate) worker: Worker,
    pub(crate) grace: Duration,
    pub(crate) tasks: BackgroundTasks,
    pub(crate) health: ServerHandle,
}

impl Stopping {
    /// Takes runs until told to stop, then winds down.
    pub(crate) async fn run(self, taking: impl Future<Output = ()>, stop: &CancellationToken) {
        let mut taking = pin!(taking);
        let is_taking = tokio::select! {
            () = &mut taking => false,
            () = stop.cancelled() => true,
        };
        let deadline = Instant::now() + self.grace + LAST_STEPS;
        let winding_down = async {
            // Not cut off in the middle: what is being fetched or claimed would wait for a lease's end.
            if is_taking {
                let _ = timeout(LAST_STEPS, taking).await;
            }
            self.wind_down(deadline).await;
        };
        if timeout_at(deadline, winding_down).await.is_err() {
            warn!("not everything could be settled in time; leases and redelivery do the rest");
        }
    }

    /// Lets the running finish, gives the rest back, announces what it can, and ends the background tasks.
    async fn wind_down(self, deadline: Instant) {
        let Self { worker, grace, tasks, health } = self;
        let (executor, attended) = (&worker.executor, &worker.tasks);
        attended.close();
        let running = worker.concurrency - worker.slots.available_permits();
        info!(running, grace_s = grace.as_secs_f64(), "no new jobs; letting the running finish");
        if timeout_at(deadline - LAST_STEPS, attended.wait()).await.is_err() {
            info!(running = executor.active.all().len(), "giving back what still runs");
            executor.active.stop_all(StopReason::Shutdown);
            if timeout_at(deadline - AFTER_RECORDING, attended.wait()).await.is_err() {
                warn!(left = attended.len(), "could not give everything back; their leases will end");
            }
        }
        executor.abandon.cancel();
        let announced = timeout(TASKS_TIMEOUT, executor.relay.finish());
        let (announced, ()) = tokio::join!(announced, tasks.stop(TASKS_TIMEOUT));
        if announced.is_err() {
            warn!("some outcomes are not announced; another replica will do it");
        }
        worker.broker.nats().flush().await;
        health.stop(true).await;
    }
}
