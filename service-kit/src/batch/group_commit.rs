//! Group commit: writes that arrive together share one command.
//!
//! A group forms while the commands before it are under way, and under load a little longer; a lone
//! write goes at once. Each caller gets its own answer, and one bad member does not hurt the others. The queue
//! has a limit, in members and in bytes: over it a caller waits briefly, then is told [`StoreError::Overloaded`].

use std::time::Duration;

use futures::stream;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{BATCH_ENOUGH, BatchLimits, BatchPacing, Batcher, Weigh};
use crate::{ByteBudget, Reservation, StoreError, metrics::GROUP_MEMBERS};

/// How large groups grow, and when they go.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// What is grouped, for metrics.
    pub name: &'static str,
    /// The most members that may wait.
    pub waiting: usize,
    /// The most bytes of those that wait or are being written.
    pub waiting_bytes: usize,
    /// The most members of one command.
    pub members: usize,
    /// How long a group's first member waits for others, besides the command before it: zero where
    /// somebody waits for the answer.
    pub linger: Duration,
    /// Under load, at most how long after the start of one command the next one waits for more members; see
    /// [`BatchPacing`].
    pub pacing: Duration,
    /// How long a caller waits for a place in the queue.
    pub queue_timeout: Duration,
    /// How long a command may take before its outcome counts as unknown.
    pub deadline: Duration,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            name: "",
            waiting: 4096,
            waiting_bytes: 64 << 20,
            members: 1000,
            linger: Duration::ZERO,
            pacing: Duration::ZERO,
            queue_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(10),
        }
    }
}

/// The most bytes of one command: well under the 16 MB of a BSON document.
const GROUP_BYTES: usize = 8 << 20;

type Answer<O> = Result<O, StoreError>;

struct Member<I, O> {
    item: I,
    answer: oneshot::Sender<Answer<O>>,
    bytes: Reservation,
}

/// A queue of writes that are committed in groups.
#[derive(Debug)]
pub struct GroupCommit<I, O> {
    queue: mpsc::Sender<Member<I, O>>,
    bytes: ByteBudget,
    queue_timeout: Duration,
}

impl<I, O> Clone for GroupCommit<I, O> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bytes: self.bytes.clone(), queue_timeout: self.queue_timeout }
    }
}

impl<I: Weigh + Send + 'static, O: Send + 'static> GroupCommit<I, O> {
    /// Starts to commit, one group at a time; ends when the last clone of the queue is dropped.
    ///
    /// `commit` answers for each member, in order. It runs in a task of its own, to its end, also
    /// where nobody waits any more.
    pub fn start<F, Fut>(limits: GroupLimits, commit: F) -> Self
    where
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Answer<O>>> + Send + 'static,
    {
        let (queue, members) = mpsc::channel(limits.waiting);
        tokio::spawn(commit_all(limits, members, commit));
        let bytes = ByteBudget::new(limits.waiting_bytes);
        Self { queue, bytes, queue_timeout: limits.queue_timeout }
    }

    /// Has the item committed with whatever else is waiting.
    ///
    /// # Errors
    /// Those of the commit; [`StoreError::Overloaded`] before anything was written;
    /// [`StoreError::Unknown`] where the item may or may not have been written.
    pub async fn submit(&self, item: I) -> Answer<O> {
        match self.queue_up(item).await {
            Some(answered) => answered.await.unwrap_or(Err(StoreError::Unknown)),
            None => Err(StoreError::Overloaded),
        }
    }

    /// Has the items committed together, in as few commands as the limits allow; answers in order.
    pub async fn submit_all(&self, items: Vec<I>) -> Vec<Answer<O>> {
        let mut waiting = Vec::with_capacity(items.len());
        for item in items {
            waiting.push(self.queue_up(item).await);
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answered in waiting {
            answers.push(match answered {
                Some(answered) => answered.await.unwrap_or(Err(StoreError::Unknown)),
                None => Err(StoreError::Overloaded),
            });
        }
        answers
    }

    /// Where its answer will come; none where there is no room for it in time.
    async fn queue_up(&self, item: I) -> Option<oneshot::Receiver<Answer<O>>> {
        let (answer, answered) = oneshot::channel();
        let queue_up = async {
            let bytes = self.bytes.take(item.weight()).await;
            self.queue.send(Member { item, answer, bytes }).await
        };
        timeout(self.queue_timeout, queue_up).await.ok()?.ok()?;
        Some(answered)
    }
}

async fn commit_all<I, O, F, Fut>(limits: GroupLimits, mut members: mpsc::Receiver<Member<I, O>>, commit: F)
where
    I: Weigh,
    F: Fn(Vec<I>) -> Fut,
    Fut: Future<Output = Vec<Answer<O>>> + Send + 'static,
    O: Send + 'static,
{
    let pacing = BatchPacing::new(limits.pacing);
    let batch = BatchLimits { items: limits.members, bytes: GROUP_BYTES, enough: BATCH_ENOUGH };
    let mut groups = Batcher::new(stream::poll_fn(|context| members.poll_recv(context)), batch);
    let mut grow_until = Instant::now();
    while let Some(first) = groups.first().await {
        if !limits.linger.is_zero() {
            tokio::time::sleep(limits.linger).await;
        }
        let group = groups.fill(first, grow_until, |member| Some(member.item.weight())).await;
        let (started, members) = (Instant::now(), group.len());
        GROUP_MEMBERS.record([limits.name], members as f64);
        let (items, callers): (Vec<I>, Vec<_>) =
            group.into_iter().map(|member| (member.item, (member.answer, member.bytes))).unzip();
        // A driver's future must not be dropped midway, so it has a task of its own.
        let committing = tokio::spawn(commit(items));
        let answers = match timeout(limits.deadline, committing).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let mut answers = answers.into_iter();
        for (caller, bytes) in callers {
            drop(bytes);
            // A caller that went away needs no answer.
            let _ = caller.send(answers.next().unwrap_or(Err(StoreError::Unknown)));
        }
        grow_until = pacing.next(started, members);
    }
}

#[cfg(test)]
mod tests;
