//! How many jobs are created at once. What is beyond that waits for a moment, and is told to come again: so that what is
//! accepted is accepted soon, whatever is asked for.
//!
//! New jobs are what is shed first. Reads, cancels and retries are not: they help to make an end of things.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How many jobs are created at once. Creating shares its commits in groups of a tenth of this, so that more would only wait
/// longer.
const AT_ONCE: usize = 256;

/// How many requests wait for a place, and for how long.
const WAITING: usize = 512;
const WAIT: Duration = Duration::from_secs(5);

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// As long as this lives, as many jobs fewer are created besides.
#[derive(Debug)]
pub(super) struct Place {
    _places: OwnedSemaphorePermit,
}

impl Default for Admission {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Admission {
    /// Places for so many jobs of one request, in turn; none where there are none soon. A request for more than there are
    /// places takes them all.
    pub(super) async fn enter(&self, jobs: usize) -> Option<Place> {
        let wanted = u32::try_from(jobs.clamp(1, AT_ONCE)).unwrap_or(u32::MAX);
        if let Ok(places) = Arc::clone(&self.places).try_acquire_many_owned(wanted) {
            return Some(Place { _places: places });
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        let places = timeout(WAIT, Arc::clone(&self.places).acquire_many_owned(wanted)).await;
        Some(Place { _places: places.ok()?.ok()? })
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_no_place_for_long_is_told_so() {
        let admission = Admission::default();
        let all = admission.enter(AT_ONCE * 4).await.expect("a large request takes all places");
        assert!(admission.enter(1).await.is_none());
        let (waits, ()) = tokio::join!(admission.enter(1), async {
            tokio::time::sleep(WAIT / 2).await;
            drop(all);
        });
        assert!(waits.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn not_all_may_wait() {
        let admission = Admission::default();
        let _all = admission.enter(AT_ONCE).await;
        let begun = tokio::time::Instant::now();
        let one = || async {
            assert!(admission.enter(1).await.is_none());
            begun.elapsed()
        };
        let refused_after = join_all((0..WAITING + 10).map(|_| one())).await;
        let at_once = refused_after.iter().filter(|after| after.is_zero()).count();
        assert_eq!((at_once, refused_after.iter().max()), (10, Some(&WAIT)));
    }
}
