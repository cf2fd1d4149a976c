//! What there is to say of queues.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bson::{DateTime, Uuid};
use futures::{StreamExt, TryStreamExt, stream};
use service_kit::{Mongo, StoreError};
use shared_events::{Priority, Queue};
use tokio::{sync::Mutex, time::Instant};

use super::{
    Count, Ended, EndedCounts,
    store::{Open, OpenJobs},
};

/// How many queues are counted at once.
const AT_ONCE: usize = 8;

/// The most queues that totals are summed over.
const SUMMED: usize = 1000;

/// How long totals are good for: several may watch them.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Counts jobs by queue. Copies share what they know.
#[derive(Debug, Clone)]
pub struct Queues {
    open: OpenJobs,
    ended: EndedCounts,
    totals: Arc<Mutex<Option<(Instant, Totals)>>>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// Which.
    pub queue: Queue,
    /// What has not ended.
    pub open: Open,
    /// What has ended lately.
    pub ended: Ended,
}

/// All queues together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Jobs that wait for a worker.
    pub waiting: Count,
    /// Jobs that run.
    pub running: Count,
    /// Jobs whose time has not come.
    pub scheduled: Count,
    /// How many queues have any.
    pub queues: Count,
    /// The oldest that waits.
    pub oldest: Option<Uuid>,
    /// The queues in which jobs wait.
    pub waiting_in: Vec<Queue>,
}

impl Queues {
    /// Those of the jobs in this database.
    #[must_use]
    pub fn new(mongo: Mongo, ended: EndedCounts) -> Self {
        Self { open: OpenJobs(mongo), ended, totals: Arc::default() }
    }

    /// What has ended.
    #[must_use]
    pub const fn ended(&self) -> &EndedCounts {
        &self.ended
    }

    /// The database's time.
    #[must_use]
    pub fn now(&self) -> DateTime {
        self.open.0.clock().now()
    }

    /// A queue.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn get(&self, queue: Queue) -> Result<QueueState, StoreError> {
        let (open, ended) = (self.open.of(&queue).await?, self.ended.of(&queue));
        Ok(QueueState { queue, open, ended })
    }

    /// The queues behind `after` in order of their names, at most `limit`: those with open jobs, those of which jobs have
    /// ended lately, and `others`; and whether there are more.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn page(
        &self,
        after: Option<&Queue>,
        limit: usize,
        others: impl IntoIterator<Item = Queue>,
    ) -> Result<(Vec<QueueState>, bool), StoreError> {
        let mut names: BTreeSet<Queue> = self.open.queues(after, limit + 1).await?.into_iter().collect();
        let known = self.ended.queues().into_iter().chain(others);
        names.extend(known.filter(|queue| after.is_none_or(|after| queue > after)));
        let is_last = names.len() <= limit;
        let states = stream::iter(names.into_iter().take(limit)).map(|queue| self.get(queue));
        Ok((states.buffered(AT_ONCE).try_collect().await?, !is_last))
    }

    /// The state of all queues that have open jobs (up to 1000), by name.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn all(&self) -> Result<Vec<QueueState>, StoreError> {
        Ok(self.page(None, SUMMED, []).await?.0)
    }

    /// All queues together, at most a second old.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        // Who comes meanwhile waits for the same answer.
        let mut known = self.totals.lock().await;
        if let Some((at, totals)) = &*known
            && at.elapsed() < GOOD_FOR
        {
            return Ok(totals.clone());
        }
        let totals = self.sum().await?;
        *known = Some((Instant::now(), totals.clone()));
        Ok(totals)
    }

    async fn sum(&self) -> Result<Totals, StoreError> {
        let names = self.open.queues(None, SUMMED + 1).await?;
        let is_all = names.len() <= SUMMED;
        let of_all = Count { count: 0, exact: is_all };
        let mut totals = Totals {
            waiting: of_all,
            running: of_all,
            scheduled: of_all,
            queues: Count { count: names.len().min(SUMMED) as u64, exact: is_all },
            oldest: None,
            waiting_in: Vec::new(),
        };
        let mut states = stream::iter(names.into_iter().take(SUMMED))
            .map(|queue| async move { Ok::<_, StoreError>((self.open.of(&queue).await?, queue)) })
            .buffer_unordered(AT_ONCE);
        while let Some((open, queue)) = states.try_next().await? {
            for priority in Priority::ALL {
                totals.waiting += open.waiting.get(&priority).copied().unwrap_or(Count::ZERO);
            }
            totals.running += open.running;
            totals.scheduled += open.scheduled;
            totals.oldest = totals.oldest.into_iter().chain(open.oldest).min();
            if open.oldest.is_some() {
                totals.waiting_in.push(queue);
            }
        }
        totals.waiting_in.sort_unstable();
        Ok(totals)
    }
}
