//! Cancelling, as far as the ledger decides it.

use bson::{DateTime, doc, rawdoc};
use service_kit::{
    StoreError,
    failpoints::Safeguard,
    mongo::{Durability, Statement},
};
use shared_events::{JobCancel, RunId, Status, TraceContext};

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
}

impl CancelStep {
    fn of(run: &Run, now: DateTime) -> Self {
        let is_held = run.lease_until.is_some_and(|until| until > now);
        match run.status {
            Status::Running if is_held && run.cancel_requested.is_some() => Self::Stop,
            Status::Running if is_held => Self::LookAgain,
            Status::Running | Status::Queued => Self::End,
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
        self.core.cancel_known(ids).await
    }
}

impl Core {
    pub(super) async fn cancel(&self, requests: &[CancelRequest]) -> Result<Cancels, StoreError> {
        if Safeguard::Tombstone.is_off() {
            return self.cancel_known(requests.iter().map(|request| request.cancel.run_id()).collect()).await;
        }
        let now = self.mongo.clock().now();
        let tombstones: Vec<Run> =
            requests.iter().map(|request| Run::tombstone(&request.cancel, request.trace, now)).collect();
        let inserted = self.mongo.insert_many(RUNS, &tombstones).await?;
        if let Some((_, error)) = inserted.refused.into_iter().next() {
            return Err(error);
        }
        let known: Vec<usize> = inserted.duplicates.into_iter().map(|(index, _)| index).collect();
        let mut cancels =
            self.cancel_known(known.iter().map(|index| tombstones[*index].id).collect()).await?;
        let fresh = tombstones.into_iter().enumerate().filter(|(index, _)| !known.contains(index));
        cancels.closed.extend(fresh.map(|(_, run)| run));
        Ok(cancels)
    }

    /// Cancels runs that the ledger knows.
    async fn cancel_known(&self, mut ids: Vec<RunId>) -> Result<Cancels, StoreError> {
        let mut cancels = Cancels::default();
        for _ in 0..ROUNDS {
            if ids.is_empty() {
                return Ok(cancels);
            }
            self.flag_running(&ids).await?;
            let now = self.mongo.clock().now();
            let texts: Vec<String> = ids.iter().map(RunId::to_string).collect();
            let (mut changes, mut again) = (Vec::new(), Vec::new());
            let found = self.find(doc! { "_id": { "$in": texts } }).await?;
            cancels.unreadable.extend(found.unreadable);
            for run in found.runs {
                match CancelStep::of(&run, now) {
                    CancelStep::Stop => cancels.stop.push(run),
                    CancelStep::LookAgain => again.push(run.id),
                    CancelStep::End => {
                        again.push(run.id);
                        let next = Run { cancel_requested: Some(true), ..run.clone() }.given_up(now);
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
}
