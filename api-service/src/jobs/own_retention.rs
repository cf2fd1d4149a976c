//! Ended jobs that say themselves how long they are kept (`keep_s`) go within a minute after that time.
//!
//! They have an index of their own, by time kept and end, in which no other job has an entry: for each time that any of
//! them has, it leads to those that are over. Replicas need not agree who removes them.

use std::time::Duration;

use bson::DateTime;
use service_kit::{StoreError, retention::before, retry::jittered, telemetry::chain};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Jobs, remains::Remains, store::Kept};

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(15);

/// How many jobs go at once.
const BATCH: usize = 200;

/// How many of the times that jobs are kept for one pass looks at: clients choose them. The next pass goes on behind them.
const TIMES: usize = 2000;

/// Removes them.
#[derive(Clone)]
pub struct OwnRetention {
    /// What they are removed from.
    pub jobs: Jobs,
    /// How long any other job is kept after its end; none is kept for longer.
    pub kept: Duration,
}

impl OwnRetention {
    /// Removes what is over, again and again, until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut looked_up_to = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jittered(EVERY)) => {}
            }
            match self.pass(looked_up_to, stop).await {
                Ok(up_to) => looked_up_to = up_to,
                Err(error) => {
                    let error = chain(&error);
                    warn!(error, "could not remove all jobs whose own time is over; trying again");
                }
            }
        }
    }

    /// Looks at those that are kept for longer than so many seconds; says up to how many it came, 0 where those were all.
    async fn pass(&self, longer_than: u32, stop: &CancellationToken) -> Result<u32, StoreError> {
        self.jobs.mongo().learn_clock().await?;
        let mut up_to = longer_than;
        for _ in 0..TIMES {
            let Some(keep_s) = self.jobs.next_time_kept(up_to).await? else { return Ok(0) };
            up_to = keep_s;
            while !stop.is_cancelled() {
                let now = self.jobs.mongo().clock().now();
                let over = before(now, Duration::from_secs(keep_s.into()));
                let batch = self.jobs.ended_and_kept_for(keep_s, over, BATCH).await?;
                let is_last = batch.len() < BATCH;
                // Where nothing went, somebody else was faster, and what is left is for the next pass.
                if self.remove(batch, now).await? == 0 || is_last {
                    break;
                }
            }
        }
        Ok(up_to)
    }

    async fn remove(&self, batch: Vec<Kept>, now: DateTime) -> Result<u64, StoreError> {
        if batch.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = batch.iter().map(|job| job.id).collect();
        let (mut nothing, mut stubs) = (Vec::new(), Vec::new());
        for job in batch {
            match job.remains(now, self.kept) {
                Remains::Job => {}
                Remains::Stub { until } => stubs.push((job, until)),
                Remains::Nothing => nothing.push(job),
            }
        }
        let removed = self.jobs.remove(&nothing).await? + self.jobs.bury(&stubs, now).await?;
        self.jobs.remove_earlier_runs_of_gone(ids).await?;
        debug!(removed, "removed jobs whose own time is over");
        Ok(removed)
    }
}
