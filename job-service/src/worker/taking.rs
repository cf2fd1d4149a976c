//! When a worker takes runs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Worker, due, fetch, recover};

impl Worker {
    /// Takes runs whenever the gate is open, until told to stop.
    pub(crate) async fn take_runs(&self, unreadable_wait: Duration, stop: &CancellationToken) {
        let due_scan = self.executor.settings.due_scan;
        let taking = self.while_open(stop, |stop| async move {
            tokio::join!(fetch::run(self, &stop), due::run(self, due_scan, &stop));
        });
        let dead_letters = self.mongo().take_up_dead_letters(self, unreadable_wait, stop);
        // What it has claimed is its own, also while the gate is closed.
        tokio::join!(taking, recover::run(self, stop), dead_letters);
    }

    /// Starts `take` whenever the gate opens, and lets it come to an end, by its token, whenever it closes; until told to
    /// stop.
    async fn while_open<F: Future<Output = ()>>(
        &self,
        stop: &CancellationToken,
        take: impl Fn(CancellationToken) -> F,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.gate.opened() => {}
            }
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
    }
}
