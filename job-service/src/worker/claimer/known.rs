//! What this worker makes of runs that the ledger knows already.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use service_kit::{
    StoreError,
    telemetry::traces::{Group, KeyValue},
};
use shared_events::RunId;

use super::{
    super::{
        active_runs::StopReason,
        claimed::{AGAIN, Claimed},
    },
    Core,
};
use crate::{
    history::HistoryEvent,
    ledger::{Here, NextStep, Run, next_step},
    traces::{UPDATE_RUNS, of_run, status_of},
};

/// When runs were read that are to be acted on.
pub(super) enum Read {
    /// While nobody else here could claim them; these of them were running here before.
    AfterGuards(HashSet<RunId>),
    /// Before: whatever they were then, they may have run here since.
    BeforeGuards,
}

impl Read {
    /// Asked after reading; `runs` is whether it is running here by now.
    fn here(&self, id: &RunId, runs: bool) -> Here {
        match self {
            _ if runs => Here::Runs,
            Self::AfterGuards(running) if running.contains(id) => Here::Runs,
            Self::AfterGuards(_) => Here::DoesNotRun,
            Self::BeforeGuards => Here::MayHaveRun,
        }
    }
}

impl Core {
    /// Known runs are claimed, announced again or left; where the announcement says so, cancelled. Those that are
    /// `waiting` for a slot are not claimed.
    pub(super) async fn claim_known(
        &self,
        ids: Vec<RunId>,
        cancelled: &HashSet<RunId>,
        waiting: &HashSet<RunId>,
    ) -> Result<HashMap<RunId, Claimed>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let (to_cancel, others): (Vec<RunId>, Vec<RunId>) =
            ids.into_iter().partition(|id| cancelled.contains(id));
        let cancels = self.ledger.cancel_known(to_cancel).await?;
        self.history.add_cancels(&cancels);
        cancels.stop.iter().for_each(|run| self.active.stop(&run.id, StopReason::Requested));
        // Asked before reading: what ended in between is read as running, and must not be resumed.
        let running = others.iter().copied().filter(|id| self.active.contains(id)).collect();
        let found = self.ledger.find(&others).await?;
        let unreadable: Vec<RunId> = cancels.unreadable.into_iter().chain(found.unreadable).collect();
        let mut claimed = self.act_on(found.runs, Read::AfterGuards(running), waiting).await?;
        claimed.extend(unreadable.into_iter().map(Claimed::Unreadable));
        let ended = cancels.closed.into_iter().chain(cancels.ended);
        claimed.extend(ended.map(|run| Claimed::Ended(Box::new(run))));
        let now = self.ledger.mongo().clock().now();
        claimed.extend(cancels.stop.iter().map(|run| Claimed::left(run, now)));
        Ok(claimed.into_iter().map(|claimed| (claimed.run_id(), claimed)).collect())
    }

    /// Carries out the next step of each run, as far as that does not need a slot for one that is `waiting` for it.
    pub(super) async fn act_on(
        &self,
        runs: Vec<Run>,
        read: Read,
        waiting: &HashSet<RunId>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let (now, may_take_over) = (self.ledger.mongo().clock().now(), self.may_take_over());
        let (mut done, mut changes) = (Vec::new(), Vec::new());
        for run in runs {
            let here = read.here(&run.id, self.active.contains(&run.id));
            match next_step(&run, now, self.worker(), here, may_take_over) {
                NextStep::Claim if waiting.contains(&run.id) => done.push(Claimed::left(&run, now)),
                NextStep::Claim => {
                    let next = run.claimed(self.worker(), now, self.ledger.lease());
                    changes.push((run, next));
                }
                NextStep::GiveUp => {
                    let next = run.given_up(now);
                    changes.push((run, next));
                }
                NextStep::Resume if waiting.contains(&run.id) => {
                    self.indeterminate.add([run.id]);
                    done.push(Claimed::left(&run, now));
                }
                NextStep::Expire => {
                    let next = run.expired(now);
                    changes.push((run, next));
                }
                NextStep::LookUp => {
                    self.indeterminate.add([run.id]);
                    done.push(Claimed::left(&run, now));
                }
                NextStep::Resume => {
                    self.history.add(HistoryEvent::Recovered, run.id, run.attempt);
                    done.push(Claimed::Mine(Box::new(run)));
                }
                NextStep::Republish => done.push(Claimed::Ended(Box::new(run))),
                NextStep::Leave => done.push(Claimed::left(&run, now)),
            }
        }
        let mut changed: HashSet<RunId> = changes.iter().map(|(run, _)| run.id).collect();
        for run in self.replace(changes).await? {
            changed.remove(&run.id);
            self.history.add_claim(&run);
            done.push(Claimed::of(run));
        }
        // Somebody else changed these in between, and what they are now is not known.
        done.extend(changed.into_iter().map(|id| Claimed::Later(id, AGAIN)));
        Ok(done)
    }

    async fn replace(&self, changes: Vec<(Run, Run)>) -> Result<Vec<Run>, StoreError> {
        let Some(spans) = Group::begin(changes.iter().map(|(run, _)| run.trace)) else {
            return self.ledger.replace(changes).await;
        };
        let next: Vec<Vec<KeyValue>> =
            changes.iter().map(|(_, next)| of_run(next).chain([status_of(next)]).collect()).collect();
        let replaced = self.ledger.replace(changes).await;
        spans.end_with(&UPDATE_RUNS, &replaced, |place, span| span.with(next[place].clone()));
        replaced
    }

    /// Whether a lease that has ended by this worker's clock can be taken for lost. Not before the database's clock is
    /// known, nor for a while after it was away or its clock was set: the holder may not have been able to renew it.
    fn may_take_over(&self) -> bool {
        let (mongo, lease) = (self.ledger.mongo(), self.ledger.lease());
        // Longer than the others need to renew theirs, which they do every third of a lease.
        let pause = (lease / 2).max(Duration::from_secs(2));
        mongo.clock().is_learnt()
            && mongo.since_failure().is_none_or(|since| since > pause)
            // They read the clock every third of a lease too.
            && mongo.clock().since_step().is_none_or(|since| since > lease)
    }
}
