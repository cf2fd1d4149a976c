//! Cancelling, as far as the ledger decides it.

use bson::{DateTime, doc, rawdoc};
use service_kit::{
    StoreError,
    failpoints::Safeguard,
    mongo::{Durability, Statement},
};
use shared_events::{CancelReason, JobCancel, RunId, Status, TraceContext};

use super::{
    super::{NextAction, Run},
    Core, Ledger, RUNS,
};

/// How often a run may change between reading and writing before the cancel is put off.
const ROUNDS: usize = 5;

/// A request to cancel, as it came.
#[derive(Debug, Clone)]
pub struct CancelRequest {
    /// What it says.
    pub cancel: JobCancel,
    /// Its trace.
    pub trace: Option<TraceContext>,
}

/// What became of requests to cancel.
#[derive(Debug, Default)]
pub struct Cancels {
    /// These have ended by them: that is to be announced.
    pub closed: Vec<Run>,
    /// These had ended before: that is to be announced again.
    pub ended: Vec<Run>,
    /// These are running somewhere, and are flagged: their handlers are to stop.
    pub stop: Vec<Run>,
    /// These have documents that this version can not read: a newer one has to decide.
    pub unreadable: Vec<RunId>,
}

impl Cancels {
    fn add(&mut self, more: Self) {
        let Self { closed, ended, stop, unreadable } = more;
        self.closed.extend(closed);
        self.ended.extend(ended);
        self.stop.extend(stop);
        self.unreadable.extend(unreadable);
    }
}

/// What a request to cancel asks for, after running runs were flagged.
#[derive(Debug, PartialEq, Eq)]
enum CancelStep {
    /// Its worker has to stop it.
    Stop,
    /// It was claimed after the flags were set: the next round sets its own.
    LookAgain,
    /// Nobody runs it, so it ends here.
    End,
    /// It had ended, and whoever asks has not heard of it.
    AnnounceAgain,
    /// An attempt has begun, which an end for not having started in time does not touch.
    Leave,
}

impl CancelStep {
    fn of(run: &Run, now: DateTime) -> Self {
        let is_held = run.lease_until.is_some_and(|until| until > now);
        match run.status {
            Status::Running if is_held && run.cancel_requested.is_some() => Self::Stop,
            Status::Running if is_held => Self::LookAgain,
            Status::Running | Status::Queued | Status::Scheduled => Self::End,
            Status::Finished | Status::Failed | Status::Cancelled => Self::AnnounceAgain,
        }
    }

    /// The same where the run is to end only if no attempt of it has begun.
    fn of_expired(run: &Run) -> Self {
        match run.status {
            Status::Running => Self::Leave,
            Status::Queued | Status::Scheduled if run.attempt > 0 => Self::Leave,
            Status::Queued | Status::Scheduled => Self::End,
            Status::Finished | Status::Failed | Status::Cancelled => Self::AnnounceAgain,
        }
    }
}

impl Ledger {
    /// Cancels runs that the ledger knows.
    ///
    /// # Errors
    /// Where that is not known to be done: do it again.
    pub async fn cancel_known(&self, ids: Vec<RunId>) -> Result<Cancels, StoreError> {
        self.core.cancel_known(ids, CancelReason::Requested).await
    }
}

impl Core {
    pub(super) async fn cancel(&self, requests: &[CancelRequest]) -> Result<Cancels, StoreError> {
        if Safeguard::Tombstone.is_off() {
            let all = requests.iter().map(|request| request.cancel.run_id()).collect();
            return self.cancel_known(all, CancelReason::Requested).await;
        }
        let now = self.mongo.clock().now();
        let tombstones: Vec<Run> =
            requests.iter().map(|request| Run::tombstone(&request.cancel, request.trace, now)).collect();
        let inserted = self.mongo.insert_many(RUNS, &tombstones).await?;
        if let Some((_, error)) = inserted.refused.into_iter().next() {
            return Err(error);
        }
        let known: Vec<usize> = inserted.duplicates.into_iter().map(|(index, _)| index).collect();
        let is_expired = |index: &&usize| requests[**index].cancel.reason == CancelReason::Expired;
        let (expired, requested): (Vec<&usize>, Vec<&usize>) = known.iter().partition(is_expired);
        let ids = |of: Vec<&usize>| of.into_iter().map(|index| tombstones[*index].id).collect();
        let mut cancels = self.cancel_known(ids(requested), CancelReason::Requested).await?;
        cancels.add(self.cancel_known(ids(expired), CancelReason::Expired).await?);
        let fresh = tombstones.into_iter().enumerate().filter(|(index, _)| !known.contains(index));
        cancels.closed.extend(fresh.map(|(_, run)| run));
        Ok(cancels)
    }

    /// Cancels runs that the ledger knows; for the reason `expired` only those of which no attempt has begun.
    async fn cancel_known(&self, mut ids: Vec<RunId>, reason: CancelReason) -> Result<Cancels, StoreError> {
        let mut cancels = Cancels::default();
        for _ in 0..ROUNDS {
            if ids.is_empty() {
                return Ok(cancels);
            }
            let is_expired = reason == CancelReason::Expired;
            if !is_expired {
                self.flag_running(&ids).await?;
            }
            let now = self.mongo.clock().now();
            let texts: Vec<String> = ids.iter().map(RunId::to_string).collect();
            let (mut changes, mut again) = (Vec::new(), Vec::new());
            let found = self.find(doc! { "_id": { "$in": texts } }).await?;
            cancels.unreadable.extend(found.unreadable);
            for run in found.runs {
                let step = if is_expired { CancelStep::of_expired(&run) } else { CancelStep::of(&run, now) };
                match step {
                    CancelStep::Leave => {}
                    CancelStep::Stop => cancels.stop.push(run),
                    CancelStep::LookAgain => again.push(run.id),
                    CancelStep::End => {
                        again.push(run.id);
                        let next = if is_expired {
                            run.expired(now)
                        } else {
                            Run { cancel_requested: Some(true), ..run.clone() }.given_up(now)
                        };
                        changes.push((run, next));
                    }
                    CancelStep::AnnounceAgain => {
                        cancels.ended.push(Run { next_action: Some(NextAction::Announce), ..run });
                    }
                }
            }
            let closed = self.replace(changes).await?;
            // Whoever changed a run in between, the next round sees it.
            again.retain(|id| closed.iter().all(|run| run.id != *id));
            cancels.closed.extend(closed);
            ids = again;
        }
        if ids.is_empty() { Ok(cancels) } else { Err(StoreError::Unknown) }
    }

    /// From here on every renewal and every takeover sees the request.
    async fn flag_running(&self, ids: &[RunId]) -> Result<(), StoreError> {
        let mut list = bson::RawArrayBuf::new();
        ids.iter().for_each(|id| list.push(id.to_string()));
        let running = rawdoc! {
            "_id": { "$in": list },
            "status": Status::Running.as_str(),
            "cancel_requested": { "$exists": false },
        };
        let flag = rawdoc! { "$set": { "cancel_requested": true } };
        self.mongo.update(RUNS, vec![Statement::many(running, flag)], Durability::Journaled).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobError;

    use super::*;
    use crate::ledger::{
        AttemptEnd,
        model::tests::{at, running},
    };

    #[test]
    fn a_cancel_stops_what_runs_and_ends_what_nobody_runs() {
        let flagged = Run { cancel_requested: Some(true), ..running() };
        let waits =
            running().ended(AttemptEnd::Retry(JobError::new("planned", ""), at(40), None), at(5), at(10));
        let ended = running().ended(AttemptEnd::Finished(None), at(5), at(10));
        assert_eq!(waits.status, Status::Queued);
        for (run, seconds, step) in [
            (flagged.clone(), 29, CancelStep::Stop),
            (running(), 29, CancelStep::LookAgain),
            // A lease ends at 30.
            (flagged, 30, CancelStep::End),
            (running(), 30, CancelStep::End),
            (waits, 10, CancelStep::End),
            (ended, 10, CancelStep::AnnounceAgain),
        ] {
            assert_eq!(CancelStep::of(&run, at(seconds)), step, "{run:?}");
        }
    }

    #[test]
    fn what_did_not_start_in_time_ends_unless_an_attempt_has_begun() {
        let waits =
            running().ended(AttemptEnd::Retry(JobError::new("planned", ""), at(40), None), at(5), at(10));
        let unclaimed = Run { status: Status::Queued, attempt: 0, worker: None, ..running() };
        let ended = running().ended(AttemptEnd::Finished(None), at(5), at(10));
        for (run, step) in [
            (running(), CancelStep::Leave),
            (waits, CancelStep::Leave),
            (unclaimed.clone(), CancelStep::End),
            (ended, CancelStep::AnnounceAgain),
        ] {
            assert_eq!(CancelStep::of_expired(&run), step, "{run:?}");
        }
        let expired = unclaimed.expired(at(7));
        assert_eq!((expired.status, expired.reason), (Status::Cancelled, Some(CancelReason::Expired)));
    }
}
