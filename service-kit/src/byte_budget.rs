//! How many bytes may be in memory at once for one purpose, however many pieces they come in.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes that many share. Copies share it.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    left: Arc<Semaphore>,
    total: u32,
}

/// Bytes that were taken from a budget; they go back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// A budget of so many bytes; at most 4 GiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { left: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Takes so many bytes as soon as they are there, in the order of asking. Who asks for more than there are at
    /// all gets all of them, so that nothing waits for ever.
    pub async fn take(&self, bytes: usize) -> Reservation {
        match Arc::clone(&self.left).acquire_many_owned(self.at_most_all(bytes)).await {
            Ok(permit) => Reservation { permit },
            // A budget's semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// The same; none where they are not there within this time.
    pub async fn take_within(&self, bytes: usize, wait: Duration) -> Option<Reservation> {
        tokio::time::timeout(wait, self.take(bytes)).await.ok()
    }

    /// The same; none where they are not there now.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Reservation> {
        let permit = Arc::clone(&self.left).try_acquire_many_owned(self.at_most_all(bytes)).ok()?;
        Some(Reservation { permit })
    }

    fn at_most_all(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.total)
    }
}

impl Reservation {
    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes);
        drop(self.permit.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_is_taken_is_gone_until_it_is_given_back() {
        let budget = ByteBudget::new(10);
        let mut six = budget.try_take(6).unwrap();
        assert!(budget.try_take(5).is_none());
        six.shrink_to(5);
        let five = budget.try_take(5).unwrap();
        drop((six, five));
        assert!(budget.try_take(10).is_some());
    }

    #[test]
    fn a_piece_larger_than_the_budget_takes_all_of_it() {
        let budget = ByteBudget::new(10);
        let all = budget.try_take(1000).unwrap();
        assert!(budget.try_take(1).is_none());
        drop(all);
        assert!(budget.take(1000).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_gets_none() {
        let budget = ByteBudget::new(10);
        let _all = budget.take(10).await;
        assert!(budget.take_within(1, Duration::from_secs(5)).await.is_none());
    }
}
