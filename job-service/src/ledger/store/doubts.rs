//! Claims whose outcome is not known here: the database may have taken them, and nobody runs them. They are looked
//! for until that is settled, and gone on with under the same attempt.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bson::doc;
use service_kit::{
    StoreError,
    mongo::{DEADLINE, Durability, Fitting, Query},
};
use shared_events::{RunId, Status};
use tokio::sync::Notify;

use super::{super::Run, Core, RUNS, Renewal, scans::TAKEN_BYTES};
use crate::{chronicle::Deed, held::Claiming};

/// A claim may turn up so long after it was given up: a server that hung still carries out what it has received.
const SETTLED: Duration = DEADLINE;

/// A claim that takes longer may have been given up by whoever asked for it.
const LATE: Duration = Duration::from_secs(DEADLINE.as_secs() / 2);

/// The most runs of one look.
const BATCH: usize = 10_000;

/// The runs whose claims are in doubt, and since when.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    claims: Mutex<HashMap<RunId, Instant>>,
    raised: Notify,
}

/// Claims that are being made. Where that takes long they are in doubt when this is dropped: nobody may be waiting
/// for their outcome any more.
pub(super) struct UnderWay<'a> {
    doubts: &'a Doubts,
    ids: Vec<RunId>,
    since: Instant,
}

impl Doubts {
    pub(super) fn raise(&self, ids: impl IntoIterator<Item = RunId>) {
        let now = Instant::now();
        self.with(|claims| claims.extend(ids.into_iter().map(|id| (id, now))));
        self.raised.notify_one();
    }

    pub(super) fn under_way(&self, ids: Vec<RunId>) -> UnderWay<'_> {
        UnderWay { doubts: self, ids, since: Instant::now() }
    }

    /// Waits until there are any, and says how many.
    pub(super) async fn any(&self) -> usize {
        loop {
            match self.with(|claims| claims.len()) {
                0 => self.raised.notified().await,
                some => return some,
            }
        }
    }

    fn some(&self) -> Vec<RunId> {
        self.with(|claims| claims.keys().copied().take(BATCH).collect())
    }

    /// Forgets those of them that were raised before.
    fn settle<'a>(&self, ids: impl Iterator<Item = &'a RunId>, raised_before: Instant) {
        self.with(|claims| {
            for id in ids {
                if claims.get(id).is_some_and(|raised| *raised < raised_before) {
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
            self.doubts.raise(self.ids.drain(..));
        }
    }
}

impl Core {
    /// Up to `most` runs that turned out to be this worker's though nobody here runs them. The leases of all such
    /// runs are renewed, so that none ends while it waits for a slot.
    pub(super) async fn take_doubtful(&self, most: usize) -> Result<Vec<(Run, Claiming)>, StoreError> {
        let (looked_at, asked) = (self.doubts.some(), Instant::now());
        let is_calm = self.mongo.since_failure().is_none_or(|since| since > SETTLED);
        // In this order, and both before reading: what is claimed by nobody here, and then not running here, has been
        // recorded if it ever ran; so what is then read as running is not run by anybody.
        let mut claiming: HashMap<RunId, Claiming> =
            looked_at.iter().filter_map(|id| Some((*id, self.held.claiming(*id)?))).collect();
        claiming.retain(|id, _| !self.held.contains(id));
        let found = self.find_without_payloads(self.mine_among(claiming.keys())).await?.runs;
        let mut renewal = Renewal::default();
        if !found.is_empty() {
            let claims: Vec<(RunId, u32)> = found.iter().map(|run| (run.id, run.attempt)).collect();
            self.renew(&claims, Durability::Journaled, &mut renewal).await?;
        }
        let lost: HashSet<RunId> = renewal.superseded.into_iter().map(|(id, _)| id).collect();
        let mine: Vec<Run> = found.into_iter().filter(|run| !lost.contains(&run.id)).collect();
        if is_calm && let Some(long_ago) = asked.checked_sub(SETTLED) {
            let waiting: HashSet<RunId> = mine.iter().map(|run| run.id).collect();
            self.doubts.settle(looked_at.iter().filter(|id| !waiting.contains(id)), long_ago);
        }
        let next: Vec<RunId> = mine.iter().take(most).map(|run| run.id).collect();
        if next.is_empty() {
            return Ok(Vec::new());
        }
        let (filter, most) = (self.mine_among(next.iter()), next.len());
        let query = Query { filter, most, max_bytes: TAKEN_BYTES, ..Query::default() };
        let Fitting { ids, .. } = self.mongo.fitting(RUNS, query).await?;
        let whole = self.find(doc! { "_id": { "$in": ids } }).await?.runs;
        let taken = whole.into_iter().filter_map(|run| {
            let claiming = claiming.remove(&run.id)?;
            self.chronicle.note(Deed::Resumed, run.id, run.attempt);
            Some((run, claiming))
        });
        Ok(taken.collect())
    }

    fn mine_among<'a>(&self, ids: impl Iterator<Item = &'a RunId>) -> bson::Document {
        let ids: Vec<String> = ids.map(RunId::to_string).collect();
        doc! {
            "_id": { "$in": ids }, "status": Status::Running.as_str(), "worker": self.worker.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn only_what_was_in_doubt_before_is_settled() {
        let (doubts, old, new) = (Doubts::default(), JobId::generate().run(1), JobId::generate().run(1));
        doubts.raise([old]);
        let between = Instant::now();
        doubts.raise([new]);
        doubts.settle([old, new].iter(), between);
        assert_eq!(doubts.some(), [new]);
    }

    #[tokio::test]
    async fn a_claim_that_takes_long_is_in_doubt_when_it_ends() {
        let (doubts, id) = (Doubts::default(), JobId::generate().run(1));
        drop(doubts.under_way(vec![id]));
        assert!(doubts.some().is_empty());
        let long_ago = Instant::now().checked_sub(2 * LATE).expect("the machine has run for longer");
        drop(UnderWay { doubts: &doubts, ids: vec![id], since: long_ago });
        assert_eq!((doubts.any().await, doubts.some()), (1, vec![id]));
    }
}
