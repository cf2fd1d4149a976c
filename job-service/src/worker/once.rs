//! Takes what waits now, and comes to an end when it is done: for the timers of a system.

use std::time::Duration;

use anyhow::Context;
use service_kit::telemetry::chain;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Round, Taken, Worker, due::DueOf, recover};

/// How long NATS and MongoDB may take to answer.
const REACHABLE_WITHIN: Duration = Duration::from_secs(20);

/// How long what could not be claimed takes to come again.
const GIVEN_BACK: Duration = Duration::from_secs(3);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

impl Worker {
    /// Takes what waits now and runs it, until that is done or it is told to stop. `prepare` is what comes before.
    ///
    /// # Errors
    /// Where NATS or the database does not answer within 20 s, or is away later.
    pub(crate) async fn take_once(
        &self,
        prepare: impl Future<Output = ()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + REACHABLE_WITHIN;
        timeout_at(deadline, prepare).await.context("MongoDB has not answered")?;
        let taking = async {
            let round = timeout_at(deadline, self.insist_on_a_round(stop)).await;
            let Some(round) = round.context("NATS has not answered")? else { return Ok(()) };
            let (mut due, mut announcements) = (0, 0);
            let (mut is_due_taken, mut failing_since) = (false, None::<Instant>);
            while !stop.is_cancelled() {
                let began = Instant::now();
                // Retries that come to be due meanwhile are left to the next.
                let taken = self.take_all(&round, !is_due_taken, stop).await;
                self.settled(stop).await;
                let has_failed = taken.is_err() || self.database_failed_since(began);
                is_due_taken |= !has_failed;
                failing_since = has_failed.then(|| failing_since.unwrap_or_else(Instant::now));
                match (taken, failing_since) {
                    (Ok(Taken { announcements: 0, due: 0 }), None) => break,
                    (Ok(taken), _) => {
                        // What found no slot was given back, and is there again.
                        announcements += taken.announcements;
                        due += taken.due;
                    }
                    (Err(error), Some(since)) if since.elapsed() > REACHABLE_WITHIN => return Err(error),
                    (Err(error), _) => {
                        warn!(error = chain(error.as_ref()), "not all that waits is taken; trying again");
                    }
                }
                if has_failed {
                    // So long what could not be claimed takes to come again.
                    stop.run_until_cancelled(tokio::time::sleep(GIVEN_BACK)).await;
                }
            }
            let attempts = self.executor.active.started();
            info!(announcements, due, attempts, "took what waited; nothing is left of it");
            Ok(())
        };
        tokio::select! {
            taken = taking => taken,
            () = recover::run(self, stop) => Ok(()),
        }
    }

    async fn take_all(&self, round: &Round, due: bool, stop: &CancellationToken) -> anyhow::Result<Taken> {
        // What waits for a slot of its kind is taken as often as there are any.
        let of = if due { DueOf::AllKinds } else { DueOf::LimitedKinds };
        let due = self.take_due(of, stop).await?;
        Ok(Taken { due, announcements: self.take_announced(round, stop).await? })
    }

    async fn insist_on_a_round(&self, stop: &CancellationToken) -> Option<Round> {
        loop {
            match self.begin_round().await {
                Ok(round) => return Some(round),
                Err(error) => warn!(error = chain(error.as_ref()), "waiting for NATS"),
            }
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await?;
        }
    }

    /// Waits until all that was taken has come to its end.
    async fn settled(&self, stop: &CancellationToken) {
        self.tasks.close();
        let settled = stop.run_until_cancelled(self.tasks.wait()).await;
        if settled.is_some() {
            self.tasks.reopen();
        }
    }
}
