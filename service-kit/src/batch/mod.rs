//! Batches: what arrives together is done together. [`Batcher`] forms them, of writes ([`GroupCommit`]) and of messages
//! (`nats::consume`) alike.

mod group_commit;
mod pacing;

pub use group_commit::{GroupCommit, GroupLimits};
pub use pacing::{BATCH_ENOUGH, BatchPacing};

use std::{pin::pin, sync::Arc};

use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

/// About how many bytes something has.
pub trait Weigh {
    /// In bytes; need not be exact.
    fn weight(&self) -> usize;
}

impl<T: Weigh> Weigh for Arc<T> {
    fn weight(&self) -> usize {
        (**self).weight()
    }
}

/// How large a batch grows.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// The most items.
    pub items: usize,
    /// The most bytes; a first item that is larger is a batch of its own.
    pub bytes: usize,
    /// A batch of so many items does not wait for more.
    pub enough: usize,
}

/// Forms batches of what a stream gives.
#[derive(Debug)]
pub struct Batcher<S: Stream> {
    source: S,
    left_over: Option<S::Item>,
    limits: BatchLimits,
}

impl<S: Stream + Unpin> Batcher<S> {
    /// Forms batches within these limits.
    #[must_use]
    pub const fn new(source: S, limits: BatchLimits) -> Self {
        Self { source, left_over: None, limits }
    }

    /// The first item of the next batch, as soon as there is one; none at the stream's end. Nothing is lost where this
    /// is dropped before it is ready.
    pub async fn first(&mut self) -> Option<S::Item> {
        match self.left_over.take() {
            Some(item) => Some(item),
            None => self.source.next().await,
        }
    }

    /// The next item, if it is there already: none where the stream has ended, nothing inside where there is none yet.
    pub fn peek(&mut self) -> Option<Option<&S::Item>> {
        if self.left_over.is_none() {
            match self.source.next().now_or_never() {
                Some(Some(item)) => self.left_over = Some(item),
                Some(None) => return None,
                None => return Some(None),
            }
        }
        Some(self.left_over.as_ref())
    }

    /// The rest of the batch that starts with `first`: what is there, and until `grow_until` what comes, as long as
    /// that is not enough. `size` is how many bytes an item has; none where it may not stand in a batch.
    pub async fn fill(
        &mut self,
        first: S::Item,
        grow_until: Instant,
        size: impl Fn(&S::Item) -> Option<usize>,
    ) -> Vec<S::Item> {
        let mut deadline = pin!(sleep_until(grow_until));
        let Some(mut bytes) = size(&first) else { return vec![first] };
        let mut batch = vec![first];
        while batch.len() < self.limits.items {
            let next = match self.source.next().now_or_never() {
                Some(next) => next,
                // A timer that is over may still take a millisecond, so it is looked at first.
                None if batch.len() >= self.limits.enough || deadline.deadline() <= Instant::now() => break,
                None => tokio::select! {
                    biased;
                    () = &mut deadline => break,
                    next = self.source.next() => next,
                },
            };
            let Some(item) = next else { break };
            match size(&item) {
                Some(more) if bytes + more <= self.limits.bytes => {
                    bytes += more;
                    batch.push(item);
                }
                _ => {
                    self.left_over = Some(item);
                    break;
                }
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { items: 4, bytes: 10, enough: 3 };

    /// Batches of what is there: odd sizes over 100 may not stand in a batch.
    async fn batches(items: Vec<usize>) -> Vec<Vec<usize>> {
        let mut batcher = Batcher::new(stream::iter(items), LIMITS);
        let mut batches = Vec::new();
        while let Some(first) = batcher.first().await {
            let size = |item: &usize| (*item < 100).then_some(*item);
            batches.push(batcher.fill(first, Instant::now(), size).await);
        }
        batches
    }

    #[tokio::test]
    async fn a_batch_is_limited_in_items_and_in_bytes_and_nothing_is_lost() {
        for (items, expected) in [
            (vec![], vec![]),
            (vec![1, 1, 1, 1, 1], vec![vec![1, 1, 1, 1], vec![1]]),
            (vec![4, 6, 1], vec![vec![4, 6], vec![1]]),
            (vec![4, 7, 1], vec![vec![4], vec![7, 1]]),
            (vec![50, 1], vec![vec![50], vec![1]]),
            (vec![1, 101, 1], vec![vec![1], vec![101], vec![1]]),
        ] {
            assert_eq!(batches(items.clone()).await, expected, "{items:?}");
        }
    }

    #[tokio::test]
    async fn what_was_looked_at_comes_first() {
        let mut batcher = Batcher::new(stream::iter([1, 2]), LIMITS);
        assert_eq!(batcher.peek(), Some(Some(&1)));
        assert_eq!((batcher.first().await, batcher.first().await), (Some(1), Some(2)));
        assert_eq!(batcher.peek(), None);
        assert_eq!(Batcher::new(stream::pending::<i32>(), LIMITS).peek(), Some(None));
    }
}
