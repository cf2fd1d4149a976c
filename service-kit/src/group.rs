//! Group commit: writes that arrive together share one command.
//!
//! A group forms while the commands before it are under way, and under load a little longer; a lone
//! write goes at once. Each caller gets its own answer, and one bad member does not hurt the others. The queue
//! has a limit, in members and in bytes: over it a caller waits briefly, then is told [`StoreError::Overloaded`].

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use crate::{ByteBudget, Pace, Reservation, StoreError, pace::ENOUGH};

/// About how many bytes a member adds to its group's command.
pub trait Weigh {
    /// In bytes; need not be exact.
    fn weight(&self) -> usize;
}

impl<T: Weigh> Weigh for Arc<T> {
    fn weight(&self) -> usize {
        (**self).weight()
    }
}

/// How large groups grow, and when they go.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// The most members that may wait.
    pub waiting: usize,
    /// The most bytes of those that wait or are being written.
    pub waiting_bytes: usize,
    /// The most members of one command.
    pub members: usize,
    /// How long a group's first member waits for others, besides the command before it: zero where
    /// somebody waits for the answer.
    pub gather: Duration,
    /// Under load, at most how long after the start of one command the next one waits for more members; see [`Pace`].
    pub pace: Duration,
    /// How long a caller waits for a place in the queue.
    pub patience: Duration,
    /// How long a command may take before its outcome counts as unknown.
    pub deadline: Duration,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            waiting: 4096,
            waiting_bytes: 64 << 20,
            members: 1000,
            gather: Duration::ZERO,
            pace: Duration::ZERO,
            patience: Duration::from_secs(1),
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
    patience: Duration,
}

impl<I, O> Clone for GroupCommit<I, O> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bytes: self.bytes.clone(), patience: self.patience }
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
        tokio::spawn(commit_all(limits, Forming { members, left_over: None }, commit));
        Self { queue, bytes: ByteBudget::new(limits.waiting_bytes), patience: limits.patience }
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
        timeout(self.patience, queue_up).await.ok()?.ok()?;
        Some(answered)
    }
}

/// The group that is forming.
struct Forming<I, O> {
    members: mpsc::Receiver<Member<I, O>>,
    left_over: Option<Member<I, O>>,
}

impl<I: Weigh, O> Forming<I, O> {
    /// The next group: what is waiting, up to the limits, and until `grown` what comes, as long as that is not
    /// [`ENOUGH`]; waits for a first member. None at the end.
    async fn next(&mut self, limits: &GroupLimits, grown: Instant) -> Option<Vec<Member<I, O>>> {
        let first = match self.left_over.take() {
            Some(member) => member,
            None => self.members.recv().await?,
        };
        if !limits.gather.is_zero() {
            tokio::time::sleep(limits.gather).await;
        }
        let mut grown = pin!(sleep_until(grown));
        let mut bytes = first.item.weight();
        let mut group = vec![first];
        while group.len() < limits.members {
            let member = match self.members.try_recv() {
                Ok(member) => member,
                // A timer that is over may still take a millisecond, so it is looked at first.
                Err(_) if group.len() >= ENOUGH || grown.deadline() <= Instant::now() => break,
                Err(_) => tokio::select! {
                    biased;
                    () = &mut grown => break,
                    member = self.members.recv() => match member {
                        Some(member) => member,
                        None => break,
                    },
                },
            };
            bytes += member.item.weight();
            if bytes > GROUP_BYTES {
                self.left_over = Some(member);
                break;
            }
            group.push(member);
        }
        Some(group)
    }
}

async fn commit_all<I, O, F, Fut>(limits: GroupLimits, mut forming: Forming<I, O>, commit: F)
where
    I: Weigh,
    F: Fn(Vec<I>) -> Fut,
    Fut: Future<Output = Vec<Answer<O>>> + Send + 'static,
    O: Send + 'static,
{
    let pace = Pace::new(limits.pace);
    let mut grown = Instant::now();
    while let Some(group) = forming.next(&limits, grown).await {
        let (started, members) = (Instant::now(), group.len());
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
        grown = pace.next(started, members);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[tokio::test]
    async fn a_lone_item_goes_at_once_and_others_form_a_group_meanwhile() {
        let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let group = {
            let (started, go_on, sizes) = (Arc::clone(&started), Arc::clone(&go_on), Arc::clone(&sizes));
            GroupCommit::start(GroupLimits::default(), move |items: Vec<usize>| {
                let (started, go_on) = (Arc::clone(&started), Arc::clone(&go_on));
                sizes.lock().unwrap().push(items.len());
                async move {
                    started.notify_one();
                    go_on.notified().await;
                    items.into_iter().map(Ok).collect()
                }
            })
        };
        let submit = |item| {
            let group = group.clone();
            tokio::spawn(async move { group.submit(item).await })
        };
        let first = submit(1);
        started.notified().await;
        let others: Vec<_> = (2..7).map(submit).collect();
        while group.queue.capacity() > 4096 - 5 {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
        started.notified().await;
        go_on.notify_one();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        for (other, item) in others.into_iter().zip(2..) {
            assert_eq!(other.await.unwrap().unwrap(), item);
        }
        assert_eq!(*sizes.lock().unwrap(), [1, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn under_load_a_group_grows_for_a_while_unless_it_is_large_enough() {
        let (pace, takes) = (Duration::from_millis(1000), Duration::from_millis(500));
        let limits = GroupLimits { pace, ..GroupLimits::default() };
        let group = GroupCommit::start(limits, move |items: Vec<usize>| async move {
            tokio::time::sleep(takes).await;
            items.into_iter().map(Ok).collect()
        });
        let started = Instant::now();
        let mut answered = Vec::new();
        for members in [2, 3, ENOUGH, 1, 1] {
            group.submit_all(vec![1; members]).await;
            answered.push(started.elapsed().as_millis());
        }
        // The second waits until a second after the first began, the fourth the same after the third; the last
        // follows a lone one.
        assert_eq!(answered, [500, 1500, 2000, 3000, 3500]);
    }

    #[tokio::test]
    async fn one_bad_member_does_not_hurt_the_others() {
        let group = GroupCommit::start(GroupLimits::default(), |items: Vec<usize>| async move {
            items
                .into_iter()
                .map(|item| if item == 2 { Err(StoreError::Overloaded) } else { Ok(item) })
                .collect()
        });
        let answers = group.submit_all(vec![1, 2, 3]).await;
        assert!(matches!(answers.as_slice(), [Ok(1), Err(_), Ok(3)]));
    }

    #[tokio::test]
    async fn a_group_is_not_larger_than_a_command_may_be() {
        let largest = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&largest);
        let group = GroupCommit::start(GroupLimits::default(), move |items: Vec<usize>| {
            seen.fetch_max(items.iter().sum(), Ordering::Relaxed);
            async move { items.into_iter().map(Ok).collect() }
        });
        let answers = group.submit_all(vec![GROUP_BYTES / 3; 20]).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(largest.load(Ordering::Relaxed) <= GROUP_BYTES);
    }

    #[tokio::test]
    async fn over_the_limit_a_caller_waits_briefly_and_is_told() {
        let limits =
            GroupLimits { waiting: 1, patience: Duration::from_millis(20), ..GroupLimits::default() };
        let group = GroupCommit::start(limits, |_: Vec<usize>| std::future::pending::<Vec<Answer<()>>>());
        let waiting: Vec<_> = (0..2)
            .map(|item| {
                let group = group.clone();
                tokio::spawn(async move { group.submit(item).await })
            })
            .collect();
        while group.queue.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        let third = loop {
            // Until its task has taken the first, the second has no place either.
            tokio::task::yield_now().await;
            if group.queue.capacity() == 0 {
                break group.submit(9).await;
            }
        };
        assert!(matches!(third, Err(StoreError::Overloaded)));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn members_wait_by_their_bytes_as_well() {
        let limits = GroupLimits { waiting_bytes: 10, ..GroupLimits::default() };
        let group = GroupCommit::start(limits, |items: Vec<usize>| async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            items.into_iter().map(Ok).collect()
        });
        let (first, second) = tokio::join!(group.submit(6), group.submit(6));
        assert!(matches!((first, second), (Ok(6), Err(StoreError::Overloaded))));
        assert!(group.submit(6).await.is_ok());
        // One that is larger than all that may wait is taken alone.
        assert!(group.submit(60).await.is_ok());
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_has_an_unknown_outcome() {
        let limits = GroupLimits { deadline: Duration::from_millis(20), ..GroupLimits::default() };
        let group = GroupCommit::start(limits, |_: Vec<usize>| std::future::pending::<Vec<Answer<()>>>());
        assert!(matches!(group.submit(1).await, Err(StoreError::Unknown)));
    }
}
