//! Recording how attempts ended.

use std::sync::Arc;

use bson::{
    DateTime, RawArrayBuf, RawDocumentBuf,
    raw::{CStr, cstr},
    rawdoc,
};
use serde::Serialize;
use service_kit::{
    StoreError, Weigh,
    failpoints::Safeguard,
    mongo::{Change, Durability, raw},
    telemetry::traces::{Group, Span},
};
use shared_events::{ShortOutput, Status};

use super::{
    super::{NextAction, Run},
    Core, Glance, RUNS,
};
use crate::traces::{UPDATE_RUNS, of_run, status_of};

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the ledger.
    Stored,
    /// Somebody else owns the run by now.
    Superseded,
    /// It is not to be tried again, because a cancel was asked for: record that.
    CancelRequested,
}

impl Weigh for Run {
    fn weight(&self) -> usize {
        let message = |error: &shared_events::JobError| error.code.len() + error.message.len();
        let attempts = self.attempts.iter().map(|attempt| {
            150 + attempt.error.as_ref().map_or(0, message)
                + attempt.output.as_ref().map_or(0, ShortOutput::encoded_len)
                + attempt.log_len()
        });
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = self.payload.len() + length(&self.result) + length(&self.output);
        texts + attempts.sum::<usize>() + 400
    }
}

/// The fields of a next action.
const MARK: &[&CStr] = &[cstr!("next_action"), cstr!("next_action_at")];

/// An earlier attempt's output.
const OUTPUT: &[&CStr] = &[cstr!("output")];

const MARK_AND_OUTPUT: &[&CStr] = &[cstr!("next_action"), cstr!("next_action_at"), cstr!("output")];

/// What an outcome writes.
#[derive(Serialize)]
struct Outcome<'a> {
    status: Status,
    charged: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action: Option<NextAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_action_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_kind_since: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a shared_events::JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<shared_events::CancelReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<&'a [shared_events::AttemptSummary]>,
}

impl Core {
    pub(super) async fn commit_ends(
        self: Arc<Self>,
        runs: Vec<Arc<Run>>,
    ) -> Vec<Result<Recorded, StoreError>> {
        match self.try_ends(&runs).await {
            Ok(recorded) => recorded,
            Err(error) => runs.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    pub(super) async fn try_ends(
        &self,
        runs: &[Arc<Run>],
    ) -> Result<Vec<Result<Recorded, StoreError>>, StoreError> {
        let changes = runs.iter().map(|run| change(run)).collect::<Result<Vec<_>, _>>()?;
        let spans = Group::begin(runs.iter().map(|run| run.trace));
        let changed = self.mongo.change(RUNS, changes, Durability::Journaled).await;
        if let Some(spans) = spans {
            let tell =
                |place: usize, span: Span| span.with(of_run(&runs[place])).with([status_of(&runs[place])]);
            spans.end_with(&UPDATE_RUNS, &changed, tell);
        }
        if changed? == runs.len() as u64 {
            return Ok(runs.iter().map(|_| Ok(Recorded::Stored)).collect());
        }
        let seen = self.glance(runs.iter().map(|run| run.id)).await?;
        Ok(runs.iter().map(|run| judge(run, seen.get(&run.id))).collect())
    }
}

/// The outcome as a conditional write: only of who holds the run as the ledger knows it, and only while it runs.
fn change(run: &Run) -> Result<Change, StoreError> {
    let mut only_if = RawDocumentBuf::new();
    if !Safeguard::Fence.is_off() {
        only_if = run.fence().filter();
        only_if.append(cstr!("status"), Status::Running.as_str());
    }
    if run.status == Status::Queued {
        only_if.append(cstr!("cancel_requested"), rawdoc! { "$exists": false });
    }
    // What a newer version has written about earlier attempts stays as it is.
    let (attempts, push) = match run.attempts.as_slice() {
        [_, .., last] => {
            let kept = i64::try_from(run.attempts.len()).unwrap_or(i64::MAX);
            let mut each = RawArrayBuf::new();
            each.push(raw(last)?);
            (None, Some(rawdoc! { "attempts": { "$each": each, "$slice": -kept } }))
        }
        attempts => (Some(attempts), None),
    };
    let outcome = Outcome {
        status: run.status,
        charged: run.charged,
        next_at: run.next_at,
        next_action: run.next_action,
        next_action_at: run.next_action_at,
        unknown_kind_since: run.unknown_kind_since,
        ended_at: run.ended_at,
        result: run.result.as_deref(),
        output: run.output.as_deref(),
        error: run.error.as_ref(),
        reason: run.reason,
        attempts,
    };
    let unset = match (run.next_action_at.is_none(), run.output.is_none()) {
        (true, true) => MARK_AND_OUTPUT,
        (true, false) => MARK,
        (false, true) => OUTPUT,
        (false, false) => &[],
    };
    Ok(Change { id: run.id.to_string().into(), only_if, set: raw(&outcome)?, unset, push })
}

/// What a second look tells about an outcome that may not have been taken.
fn judge(run: &Run, seen: Option<&Glance>) -> Result<Recorded, StoreError> {
    match seen {
        Some(seen) if seen.shows(run) => Ok(Recorded::Stored),
        Some(seen) if seen.status == Status::Running && seen.fence() == run.fence() => {
            if seen.cancel_requested.is_some() {
                Ok(Recorded::CancelRequested)
            } else {
                Err(StoreError::Unknown)
            }
        }
        _ => Ok(Recorded::Superseded),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use shared_events::JobError;

    use super::*;
    use crate::ledger::{
        AttemptEnd,
        model::tests::{at, running, worker},
    };

    /// What a look at the stored document shows of the run.
    pub(in super::super) fn glance(run: &Run) -> Glance {
        Glance {
            id: run.id,
            status: run.status,
            attempt: run.attempt,
            worker: run.worker.clone(),
            cancel_requested: run.cancel_requested,
            attempts: run.attempts.last().cloned().into_iter().collect(),
        }
    }

    #[test]
    fn an_outcome_that_is_stored_is_mine_and_a_run_that_others_closed_is_not() {
        let mine = running().ended(AttemptEnd::Failed(JobError::new("planned", ""), None), at(31), at(36));
        assert_eq!(judge(&mine, Some(&glance(&mine))).unwrap(), Recorded::Stored);
        // The same attempt with the same status: only whose account it is tells them apart.
        let closed = running().given_up(at(31));
        assert_eq!((closed.attempt, closed.status), (mine.attempt, mine.status));
        assert_eq!(judge(&mine, Some(&glance(&closed))).unwrap(), Recorded::Superseded);
    }

    #[test]
    fn an_attempt_of_the_same_number_by_another_worker_owns_the_run() {
        let mine = running().ended(AttemptEnd::Finished(None), at(31), at(36));
        let theirs = Run { worker: Some(worker("two")), ..running() };
        assert_eq!(judge(&mine, Some(&glance(&theirs))).unwrap(), Recorded::Superseded);
        let ended = theirs.ended(AttemptEnd::Finished(None), at(31), at(36));
        assert_eq!(judge(&mine, Some(&glance(&ended))).unwrap(), Recorded::Superseded);
    }

    #[test]
    fn an_outcome_that_is_not_there_yet_is_tried_again_unless_a_cancel_came() {
        let mine =
            running().ended(AttemptEnd::Retry(JobError::new("planned", ""), at(40), None), at(31), at(36));
        assert!(judge(&mine, Some(&glance(&running()))).is_err());
        let flagged = Run { cancel_requested: Some(true), ..running() };
        assert_eq!(judge(&mine, Some(&glance(&flagged))).unwrap(), Recorded::CancelRequested);
    }
}
