//! Claiming: announced runs, and runs whose retry is due or whose lease has ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bson::{DateTime, doc};
use service_kit::{
    StoreError, Weigh,
    mongo::{self, Durability, Statement, raw},
};
use shared_events::{JobCreated, RunId, Status, TraceContext, WorkerId};

use super::{
    super::{Found, Run, examine},
    Core, RUNS,
};
use crate::{chronicle::Deed, held::Stop};

/// When an announcement is to come again whose run is just being changed.
const AGAIN: Duration = Duration::from_secs(1);

/// An announcement, as it came.
#[derive(Debug)]
pub struct Announced {
    /// What it says.
    pub created: JobCreated,
    /// Its trace.
    pub trace: Option<TraceContext>,
    /// Whether its message stays unacked while it runs; else the ledger has to have a due time for the run at once.
    pub late_ack: bool,
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// This worker is to run it.
    Mine(Box<Run>),
    /// It has ended, now or before: that is to be told.
    Ended(Box<Run>),
    /// An announcement carries it, or it is just being changed: the announcement is to come again after this time.
    Carried(RunId, Duration),
    /// Nothing to do: it is among what is due in the ledger.
    Settled(RunId),
    /// Its document is one that this version can not read: a newer one has to decide.
    Unreadable(RunId),
}

impl Claimed {
    /// Which run.
    pub(super) fn run_id(&self) -> RunId {
        match self {
            Self::Mine(run) | Self::Ended(run) => run.id,
            Self::Carried(id, _) | Self::Settled(id) | Self::Unreadable(id) => *id,
        }
    }

    /// Whether there is something to do.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self, Self::Mine(_) | Self::Ended(_))
    }

    /// Whether the announcement has to carry the run on; else it can be acked.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        match self {
            Self::Mine(run) | Self::Ended(run) => run.is_carried(),
            Self::Carried(..) | Self::Unreadable(_) => true,
            Self::Settled(_) => false,
        }
    }
}

impl Weigh for Announced {
    fn weight(&self) -> usize {
        self.created.payload.as_str().len() + 700
    }
}

impl Core {
    pub(super) async fn commit_claims(
        self: Arc<Self>,
        claims: Vec<Announced>,
    ) -> Vec<Result<Claimed, StoreError>> {
        let _under_way = self.doubts.under_way(claims.iter().map(|claim| claim.created.run_id()).collect());
        let now = self.mongo.clock().now();
        let fresh: Vec<Run> = claims
            .iter()
            .map(|claim| {
                let run = Run::fresh(&claim.created, claim.trace, &self.worker, now, self.lease);
                if self.carries && claim.late_ack { run.carried() } else { run }
            })
            .collect();
        let inserted = match self.mongo.insert_many(RUNS, &fresh).await {
            Ok(inserted) => inserted,
            Err(error) => return fresh.iter().map(|_| Err(error.clone())).collect(),
        };
        let known: Vec<RunId> = inserted.duplicates.iter().map(|(index, _)| fresh[*index].id).collect();
        let cancelled: HashSet<RunId> = claims
            .iter()
            .filter(|claim| claim.created.cancel_requested)
            .map(|claim| claim.created.run_id())
            .collect();
        let mut known = self.look_at_known(known, &cancelled).await;
        let mut refused: HashMap<usize, StoreError> = inserted.refused.into_iter().collect();
        let duplicate: HashSet<usize> = inserted.duplicates.iter().map(|(index, _)| *index).collect();
        fresh
            .into_iter()
            .enumerate()
            .map(|(index, run)| {
                if let Some(error) = refused.remove(&index) {
                    return Err(error);
                }
                if duplicate.contains(&index) {
                    return match &mut known {
                        Ok(known) => Ok(known.remove(&run.id).unwrap_or(Claimed::Carried(run.id, AGAIN))),
                        Err(error) => Err(error.clone()),
                    };
                }
                self.chronicle.note_claim(&run);
                Ok(of_status(run))
            })
            .collect()
    }

    /// Known runs are claimed, told again or left; where the announcement says so, cancelled.
    async fn look_at_known(
        &self,
        ids: Vec<RunId>,
        cancelled: &HashSet<RunId>,
    ) -> Result<HashMap<RunId, Claimed>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let (to_cancel, others): (Vec<RunId>, Vec<RunId>) =
            ids.into_iter().partition(|id| cancelled.contains(id));
        let cancels = self.cancel_known(to_cancel).await?;
        cancels.stop.iter().for_each(|run| self.held.stop(&run.id, Stop::Requested));
        let texts: Vec<String> = others.iter().map(RunId::to_string).collect();
        // Asked before reading: what ended in between is read as running, and must not be resumed.
        let running = others.iter().copied().filter(|id| self.held.contains(id)).collect();
        let found = self.find(doc! { "_id": { "$in": texts } }).await?;
        let unreadable: Vec<RunId> = cancels.unreadable.into_iter().chain(found.unreadable).collect();
        let mut claimed = self.act_on(found.runs, &running).await?;
        claimed.extend(unreadable.into_iter().map(Claimed::Unreadable));
        claimed.extend(cancels.ended.into_iter().map(|run| Claimed::Ended(Box::new(run))));
        let now = self.mongo.clock().now();
        claimed.extend(cancels.stop.iter().map(|run| left(run, now)));
        Ok(claimed.into_iter().map(|claimed| (claimed.run_id(), claimed)).collect())
    }

    /// Does what [`examine`] says about each run; `running` here are those that were when they were read.
    pub(super) async fn act_on(
        &self,
        found: Vec<Run>,
        running: &HashSet<RunId>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let now = self.mongo.clock().now();
        let may_take_over = self.may_take_over();
        let (mut done, mut changes) = (Vec::new(), Vec::new());
        for run in found {
            let runs_here = running.contains(&run.id) || self.held.contains(&run.id);
            match examine(&run, now, &self.worker, runs_here, may_take_over) {
                Found::Claim => {
                    let next = run.claimed(&self.worker, now, self.lease);
                    changes.push((run, next));
                }
                Found::GiveUp => {
                    let next = run.given_up(now);
                    changes.push((run, next));
                }
                Found::Resume => {
                    self.chronicle.note(Deed::Resumed, run.id, run.attempt);
                    done.push(Claimed::Mine(Box::new(run)));
                }
                Found::Republish => done.push(Claimed::Ended(Box::new(run))),
                Found::Leave => done.push(left(&run, now)),
            }
        }
        let mut changed: HashSet<RunId> = changes.iter().map(|(run, _)| run.id).collect();
        for run in self.replace(changes).await? {
            changed.remove(&run.id);
            done.push(of_status(run));
        }
        // Somebody else changed these in between, and what they are now is not known.
        done.extend(changed.into_iter().map(|id| Claimed::Carried(id, AGAIN)));
        Ok(done)
    }

    /// Whether a lease that has ended by this worker's clock can be taken for lost. Not before the database's clock is
    /// known, nor for a while after it was away or its clock was set: the holder may not have been able to renew it.
    fn may_take_over(&self) -> bool {
        let clock = self.mongo.clock();
        // Longer than the others need to renew theirs, which they do every third of a lease.
        let pause = (self.lease / 2).max(Duration::from_secs(2));
        clock.is_learnt()
            && self.mongo.since_failure().is_none_or(|since| since > pause)
            // They read the clock every third of a lease too.
            && clock.since_step().is_none_or(|since| since > self.lease)
    }

    /// Makes of each first document its second, if it is still as it was read; answers with those that are so now.
    /// Fields that this version does not know stay as they are.
    pub(super) async fn replace(&self, changes: Vec<(Run, Run)>) -> Result<Vec<Run>, StoreError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = Vec::with_capacity(changes.len());
        for (read, next) in &changes {
            let as_read = doc! {
                "_id": read.id.to_string(),
                "status": read.status.as_str(),
                "attempt": i64::from(read.attempt),
                "worker": read.worker.as_ref().map(WorkerId::as_str),
                "lease_until": read.lease_until,
                "cancel_requested": read.cancel_requested,
            };
            let update = mongo::diff(&document(read)?, &document(next)?);
            statements.push(Statement::one(raw(&as_read)?, raw(&update)?));
        }
        let all = changes.len() as u64;
        let next: Vec<Run> = changes.into_iter().map(|(_, next)| next).collect();
        if self.mongo.update(RUNS, statements, Durability::Journaled).await? == all {
            next.iter().for_each(|run| self.chronicle.note_claim(run));
            return Ok(next);
        }
        let seen = self.glance(next.iter().map(|run| run.id)).await?;
        let in_place = |run: &Run| seen.get(&run.id).is_some_and(|seen| seen.shows(run));
        let next: Vec<Run> = next.into_iter().filter(in_place).collect();
        next.iter().for_each(|run| self.chronicle.note_claim(run));
        Ok(next)
    }
}

fn document(run: &Run) -> Result<bson::Document, StoreError> {
    bson::serialize_to_document(run).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// What an announcement is to do that finds its run claimed by somebody: where it may have to carry the run on, to come
/// again when the lease has ended, or where it has ended, and may not be taken over yet, in a while.
fn left(run: &Run, now: DateTime) -> Claimed {
    if !run.is_carried() {
        return Claimed::Settled(run.id);
    }
    let left_ms = run.lease_until.map_or(0, |until| until.timestamp_millis() - now.timestamp_millis());
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).max(AGAIN);
    Claimed::Carried(run.id, left + Duration::from_millis(rand::random_range(0..500)))
}

fn of_status(run: Run) -> Claimed {
    if run.status == Status::Running { Claimed::Mine(Box::new(run)) } else { Claimed::Ended(Box::new(run)) }
}
