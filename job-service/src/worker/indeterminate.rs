//! Indeterminate claims: the database may have taken them, and nobody runs them. They are looked for until that is
//! settled, and recovered under the same attempt (`recover.rs`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use service_kit::mongo::DEADLINE;
use shared_events::RunId;
use tokio::sync::Notify;

/// A claim may turn up so long after it was given up: a server that hung still carries out what it has received.
pub(super) const SETTLED: Duration = DEADLINE;

/// A claim that takes longer may have been given up by whoever asked for it.
const LATE: Duration = Duration::from_secs(DEADLINE.as_secs() / 2);

/// The most runs of one look.
const BATCH: usize = 10_000;

/// The runs whose claims are indeterminate, and since when.
#[derive(Debug, Default)]
pub(super) struct IndeterminateClaims {
    claims: Mutex<HashMap<RunId, Instant>>,
    added: Notify,
}

/// Claims that are being made. Where that takes long they are indeterminate when this is dropped: nobody may be waiting
/// for their outcome any more.
pub(super) struct UnderWay<'a> {
    indeterminate: &'a IndeterminateClaims,
    ids: Vec<RunId>,
    since: Instant,
}

impl IndeterminateClaims {
    pub(super) fn add(&self, ids: impl IntoIterator<Item = RunId>) {
        let now = Instant::now();
        self.with(|claims| claims.extend(ids.into_iter().map(|id| (id, now))));
        self.added.notify_one();
    }

    pub(super) fn under_way(&self, ids: Vec<RunId>) -> UnderWay<'_> {
        UnderWay { indeterminate: self, ids, since: Instant::now() }
    }

    /// Waits until there are any, and says how many.
    pub(super) async fn any(&self) -> usize {
        loop {
            match self.with(|claims| claims.len()) {
                0 => self.added.notified().await,
                some => return some,
            }
        }
    }

    pub(super) fn some(&self) -> Vec<RunId> {
        self.with(|claims| claims.keys().copied().take(BATCH).collect())
    }

    /// Forgets those of them that were added before.
    pub(super) fn settle<'a>(&self, ids: impl Iterator<Item = &'a RunId>, added_before: Instant) {
        self.with(|claims| {
            for id in ids {
                if claims.get(id).is_some_and(|added| *added < added_before) {
                    claims.remove(id);
                }
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<RunId, Instant>) -> T) -> T {
        act(&mut self.claims.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() > LATE {
            self.indeterminate.add(self.ids.drain(..));
        }
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn only_what_was_indeterminate_before_is_settled() {
        let (claims, old, new) =
            (IndeterminateClaims::default(), JobId::generate().run(1), JobId::generate().run(1));
        claims.add([old]);
        let between = Instant::now();
        claims.add([new]);
        claims.settle([old, new].iter(), between);
        assert_eq!(claims.some(), [new]);
    }

    #[tokio::test]
    async fn a_claim_that_takes_long_is_indeterminate_when_it_ends() {
        let (claims, id) = (IndeterminateClaims::default(), JobId::generate().run(1));
        drop(claims.under_way(vec![id]));
        assert!(claims.some().is_empty());
        let long_ago = Instant::now().checked_sub(2 * LATE).expect("the machine has run for longer");
        drop(UnderWay { indeterminate: &claims, ids: vec![id], since: long_ago });
        assert_eq!((claims.any().await, claims.some()), (1, vec![id]));
    }
}
