//! When a worker takes runs: as they come, or at the ticks of a cron expression. Draining closes the gate to both.

use std::time::Duration;

use service_kit::{mongo::DEADLINE, telemetry::chain};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Taken, Ticks, Worker,
    due::{self, DueOf},
    fetch, kind_slots, recover,
};

/// By when a claim is decided, and what could not be claimed is there again.
const DECIDED: Duration = DEADLINE.saturating_add(Duration::from_secs(3));

/// The pause before a round is tried again for which a server was away.
const PAUSE: Duration = Duration::from_secs(1);

impl Worker {
    /// Takes runs as they come, until told to stop.
    pub(crate) async fn take_always(&self, unreadable_wait: Duration, stop: &CancellationToken) {
        let due_scan = self.executor.settings.due_scan;
        let taking = async {
            while stop.run_until_cancelled(self.gate.opened()).await.is_some() {
                let take = |until: CancellationToken| async move {
                    let next = kind_slots::next::run(self, &until);
                    tokio::join!(fetch::run(self, &until), due::run(self, due_scan, &until), next);
                };
                self.while_open(take, stop).await;
            }
        };
        tokio::join!(taking, self.take_what_is_its_own(unreadable_wait, stop));
    }

    /// Takes what waits at each tick and rests between, until told to stop.
    pub(crate) async fn take_at_ticks(
        &self,
        ticks: &Ticks,
        unreadable_wait: Duration,
        stop: &CancellationToken,
    ) {
        let taking = async {
            let mut began = None;
            while !stop.is_cancelled() {
                tokio::select! {
                    () = ticks.next(stop) => {}
                    () = self.has_failed_since(began) => {
                        warn!("MongoDB failed since the tick; taking what was given back");
                    }
                }
                if !self.gate.is_open() {
                    info!("tick passed over: this worker is drained");
                    began = None;
                    continue;
                }
                began = Some(Instant::now());
                self.while_open(|until| async move { self.take_round(&until).await }, stop).await;
            }
        };
        // What was taken at a tick and waits for a slot of its kind need not wait for the next tick.
        let next = async {
            while stop.run_until_cancelled(self.gate.opened()).await.is_some() {
                let take =
                    |until: CancellationToken| async move { kind_slots::next::run(self, &until).await };
                self.while_open(take, stop).await;
            }
        };
        tokio::join!(taking, next, self.take_what_is_its_own(unreadable_wait, stop));
    }

    /// Claims whose answers were lost, and dead letters, whether or not it takes anything else.
    async fn take_what_is_its_own(&self, unreadable_wait: Duration, stop: &CancellationToken) {
        let dead_letters = self.mongo().take_up_dead_letters(self, unreadable_wait, stop);
        tokio::join!(recover::run(self, stop), dead_letters);
    }

    /// Takes runs in the given way; lets it come to an end, by its token, when the gate closes or the worker stops.
    async fn while_open<F: Future<Output = ()>>(
        &self,
        take: impl FnOnce(CancellationToken) -> F,
        stop: &CancellationToken,
    ) {
        let (taking, until) = (self.gate.enter(), stop.child_token());
        let take = take(until.clone());
        tokio::pin!(take);
        tokio::select! {
            () = &mut take => {}
            () = self.gate.closed() => {
                info!("nothing new is taken until this worker is told to resume");
                until.cancel();
                take.await;
            }
        }
        drop(taking);
    }

    /// Takes what waits now, however long a server is away.
    async fn take_round(&self, stop: &CancellationToken) {
        loop {
            match self.try_round(stop).await {
                Ok(Taken { announcements, due }) => {
                    return info!(announcements, due, "took what waited at this tick");
                }
                Err(error) => {
                    warn!(error = chain(error.as_ref()), "not all that waits is taken; trying again");
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }

    /// Waits until the database has failed since then: what was taken may have been given back. For ever where there is no
    /// such time. By the time that this returns, it is there again.
    async fn has_failed_since(&self, began: Option<Instant>) {
        let Some(began) = began else { return std::future::pending().await };
        while !self.database_failed_since(began) {
            tokio::time::sleep(DECIDED).await;
        }
        tokio::time::sleep(DECIDED).await;
    }

    /// Whether the database has failed since then.
    pub(crate) fn database_failed_since(&self, began: Instant) -> bool {
        self.mongo().since_failure().is_some_and(|since| since <= began.elapsed())
    }

    async fn try_round(&self, stop: &CancellationToken) -> anyhow::Result<Taken> {
        let due = self.take_due(DueOf::AllKinds, stop).await?;
        let round = self.begin_round().await?;
        Ok(Taken { due, announcements: self.take_announced(&round, stop).await? })
    }
}
