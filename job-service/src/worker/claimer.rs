//! The claimer: what this worker makes of announcements, of runs that are due, and of indeterminate claims. What follows
//! for a run that is known already is decided by [`crate::ledger::next_step`]; it is carried out in `claimer/known.rs`, many
//! runs with one command.

mod known;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use service_kit::{
    GroupCommit, GroupLimits, StoreError,
    mongo::{DEADLINE, Durability},
    telemetry::traces::Group,
};
use shared_events::{Kind, Queue, RunId, WorkerId};

use self::known::Read;
use super::{
    active_runs::{ActiveRuns, ClaimGuard},
    claimed::{AGAIN, Announced, Claimed},
    indeterminate::{IndeterminateClaims, SETTLED},
};
use crate::{
    history::{History, HistoryEvent},
    ledger::{DueKinds, DueRuns, Ledger, PACING, Run},
    traces::{INSERT_RUNS, of_run},
};

/// See the module. Copies share it.
#[derive(Clone)]
pub struct Claimer {
    core: Arc<Core>,
    claims: GroupCommit<Announced, Claimed>,
}

struct Core {
    ledger: Ledger,
    active: ActiveRuns,
    history: History,
    indeterminate: IndeterminateClaims,
    late_acks: bool,
}

impl Claimer {
    /// Claims for the ledger's worker; `active` are the runs that it is running. `late_acks` says whether announcements
    /// may bring runs on at first, or each has a time in the ledger at once.
    #[must_use]
    pub fn new(ledger: Ledger, active: ActiveRuns, history: History, late_acks: bool) -> Self {
        let indeterminate = IndeterminateClaims::default();
        let core = Arc::new(Core { ledger, active, history, indeterminate, late_acks });
        let limits = GroupLimits { name: "claims", pacing: PACING, ..GroupLimits::default() };
        let claims = {
            let core = Arc::clone(&core);
            GroupCommit::start(limits, move |claims| Arc::clone(&core).commit(claims))
        };
        Self { core, claims }
    }

    /// Begins to claim a run; none where this worker is at it already.
    #[must_use]
    pub fn guard(&self, id: RunId) -> Option<ClaimGuard> {
        self.core.active.claim(id)
    }

    /// Claims an announced run, journaled.
    ///
    /// # Errors
    /// Where the database did not do it: give the announcement back.
    pub async fn claim(&self, announced: Announced) -> Result<Claimed, StoreError> {
        let id = announced.created.run_id();
        let claimed = self.claims.submit(announced).await;
        if claimed.as_ref().is_err_and(StoreError::may_be_done) {
            self.core.indeterminate.add([id]);
        }
        claimed
    }

    /// Claims up to `most` runs of these queues and kinds whose retry is due or whose lease has ended, and ends those that are
    /// not to be tried again. Says as well whether there may be more.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn claim_due(
        &self,
        queues: &[Queue],
        kinds: DueKinds<'_>,
        most: usize,
    ) -> Result<(Vec<(Claimed, ClaimGuard)>, bool), StoreError> {
        let core = &self.core;
        let DueRuns { runs, unreadable, more } = core.ledger.due(queues, kinds, most).await?;
        let mut guards: HashMap<RunId, ClaimGuard> =
            runs.iter().filter_map(|run| Some((run.id, self.guard(run.id)?))).collect();
        let runs: Vec<Run> = runs.into_iter().filter(|run| guards.contains_key(&run.id)).collect();
        let acting = {
            let core = Arc::clone(core);
            async move {
                let _under_way = core.indeterminate.under_way(runs.iter().map(|run| run.id).collect());
                core.act_on(runs, Read::BeforeGuards, &HashSet::new()).await
            }
        };
        let claimed = core.ledger.mongo().within(DEADLINE, acting).await;
        let claimed = claimed.inspect_err(|_| core.indeterminate.add(guards.keys().copied()))?;
        let taken: Vec<(Claimed, ClaimGuard)> = claimed
            .into_iter()
            .filter(|claimed| matches!(claimed, Claimed::Mine(_) | Claimed::Ended(_)))
            .filter_map(|claimed| {
                let guard = guards.remove(&claimed.run_id())?;
                Some((claimed, guard))
            })
            .collect();
        // What can not be read is passed over by the next look.
        let more = more && (!taken.is_empty() || unreadable > 0);
        Ok((taken, more))
    }

    /// Whether any claims are indeterminate.
    #[must_use]
    pub fn has_indeterminate(&self) -> bool {
        !self.core.indeterminate.some().is_empty()
    }

    /// Waits until claims are indeterminate, and says how many.
    pub async fn indeterminate(&self) -> usize {
        self.core.indeterminate.any().await
    }

    /// Up to `most` runs whose claims were indeterminate and that turned out to be this worker's, though nobody here
    /// runs them, of kinds that `may_run` says yes to. The leases of all such runs are renewed, so that none ends while it waits for a slot.
    ///
    /// # Errors
    /// Where the database does not answer: they stay indeterminate.
    pub async fn recover(
        &self,
        most: usize,
        may_run: impl Fn(&Kind) -> bool + Send,
    ) -> Result<Vec<(Run, ClaimGuard)>, StoreError> {
        let Core { ledger, active, history, indeterminate, .. } = self.core.as_ref();
        let (looked_at, asked) = (indeterminate.some(), Instant::now());
        let is_calm = ledger.mongo().since_failure().is_none_or(|since| since > SETTLED);
        // In this order, and both before reading: what is claimed by nobody here, and then not running here, has been
        // recorded if it ever ran; so what is then read as running is not run by anybody.
        let mut guards: HashMap<RunId, ClaimGuard> =
            looked_at.iter().filter_map(|id| Some((*id, self.guard(*id)?))).collect();
        guards.retain(|id, _| !active.contains(id));
        let ids: Vec<RunId> = guards.keys().copied().collect();
        let found = ledger.mine_among(&ids).await?;
        let claims: Vec<(RunId, u32)> = found.iter().map(|run| (run.id, run.attempt)).collect();
        let renewal = ledger.renew(claims, Durability::Journaled).await?;
        let lost: HashSet<RunId> = renewal.superseded.into_iter().map(|(id, _)| id).collect();
        let mine: HashSet<RunId> = found.iter().map(|run| run.id).filter(|id| !lost.contains(id)).collect();
        if is_calm && let Some(long_ago) = asked.checked_sub(SETTLED) {
            indeterminate.settle(looked_at.iter().filter(|id| !mine.contains(id)), long_ago);
        }
        let next: Vec<RunId> = found
            .iter()
            .filter(|run| mine.contains(&run.id) && may_run(&run.kind))
            .map(|run| run.id)
            .take(most)
            .collect();
        if next.is_empty() {
            return Ok(Vec::new());
        }
        let recovered = ledger.load_mine(&next).await?.into_iter().filter_map(|run| {
            let guard = guards.remove(&run.id)?;
            history.add(HistoryEvent::Recovered, run.id, run.attempt);
            Some((run, guard))
        });
        Ok(recovered.collect())
    }
}

impl Core {
    fn worker(&self) -> &WorkerId {
        self.ledger.worker()
    }

    async fn commit(self: Arc<Self>, claims: Vec<Announced>) -> Vec<Result<Claimed, StoreError>> {
        let _under_way =
            self.indeterminate.under_way(claims.iter().map(|claim| claim.created.run_id()).collect());
        let (now, lease) = (self.ledger.mongo().clock().now(), self.ledger.lease());
        let fresh = |claim: &Announced| {
            if claim.waits {
                return Run::waiting(&claim.created, claim.trace, now);
            }
            let run = Run::fresh(&claim.created, claim.trace, self.worker(), now, lease);
            if self.late_acks && claim.late_ack { run.recovered_by_redelivery() } else { run }
        };
        let fresh: Vec<Run> = claims.iter().map(fresh).collect();
        let spans = Group::begin(claims.iter().map(|claim| claim.span));
        let inserted = self.ledger.insert(&fresh).await;
        if let Some(spans) = spans {
            spans.end_with(&INSERT_RUNS, &inserted, |place, span| span.with(of_run(&fresh[place])));
        }
        let inserted = match inserted {
            Ok(inserted) => inserted,
            Err(error) => return fresh.iter().map(|_| Err(error.clone())).collect(),
        };
        let known: Vec<RunId> = inserted.duplicates.iter().map(|(index, _)| fresh[*index].id).collect();
        let cancelled: HashSet<RunId> = claims
            .iter()
            .filter(|claim| claim.created.cancel_requested)
            .map(|claim| claim.created.run_id())
            .collect();
        let waiting: HashSet<RunId> =
            claims.iter().filter(|claim| claim.waits).map(|claim| claim.created.run_id()).collect();
        let mut known = self.claim_known(known, &cancelled, &waiting).await;
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
                        Ok(known) => Ok(known.remove(&run.id).unwrap_or(Claimed::Later(run.id, AGAIN))),
                        Err(error) => Err(error.clone()),
                    };
                }
                if run.attempt > 0 {
                    self.history.add_claim(&run);
                }
                Ok(Claimed::of(run))
            })
            .collect()
    }
}
