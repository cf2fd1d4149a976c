//! Announcements to be claimed, and what becomes of them.

use std::time::Duration;

use bson::DateTime;
use service_kit::Weigh;
use shared_events::{JobCreated, RunId, Status, TraceContext};

use crate::ledger::Run;

/// When an announcement is to come again whose run is just being changed.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// An announcement, as it came.
#[derive(Debug)]
pub struct Announced {
    /// What it says.
    pub created: JobCreated,
    /// Its trace.
    pub trace: Option<TraceContext>,
    /// The span that its claim is beneath, where that is recorded.
    pub span: Option<TraceContext>,
    /// Whether its message stays unacked while it runs; else the run has to have a time in the ledger at once.
    pub late_ack: bool,
    /// Whether there is no slot of its kind: it is not claimed, but waits in the ledger for one.
    pub waits: bool,
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// This worker is to run it.
    Mine(Box<Run>),
    /// It has ended, now or before: that is to be announced.
    Ended(Box<Run>),
    /// Another announcement brings it on, or it is just being changed: this one is to come again after this time.
    Later(RunId, Duration),
    /// Nothing to do: it has a time in the ledger.
    Settled(RunId),
    /// Its document is one that this version can not read: a newer one has to decide.
    Unreadable(RunId),
}

impl Claimed {
    /// Which run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        match self {
            Self::Mine(run) | Self::Ended(run) => run.id,
            Self::Later(id, _) | Self::Settled(id) | Self::Unreadable(id) => *id,
        }
    }

    pub(super) fn of(run: Run) -> Self {
        match run.status {
            Status::Running => Self::Mine(Box::new(run)),
            Status::Scheduled | Status::Queued => Self::Settled(run.id),
            Status::Finished | Status::Failed | Status::Cancelled => Self::Ended(Box::new(run)),
        }
    }

    /// Of a run that somebody else runs: where it has no time in the ledger, its announcement may have to bring it on,
    /// and comes again when the lease has ended; or, where it has ended and may not be taken over yet, in a while.
    pub(super) fn left(run: &Run, now: DateTime) -> Self {
        if !run.is_recovered_by_redelivery() {
            return Self::Settled(run.id);
        }
        let left_ms = run.lease_until.map_or(0, |until| until.timestamp_millis() - now.timestamp_millis());
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).max(AGAIN);
        Self::Later(run.id, left + Duration::from_millis(rand::random_range(0..500)))
    }
}

impl Weigh for Announced {
    fn weight(&self) -> usize {
        self.created.payload.as_str().len() + 700
    }
}
