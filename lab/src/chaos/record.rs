//! All that is collected of a run, for the checker.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use api_service::schedules::Firing;
use bson::Uuid;
use hasty::fsck::{Group, Report};
use serde::Deserialize;
use shared_events::{AttemptOutcome, JobId, Position, RunId, Status, Timestamp};

use super::mix::{Script, Sweep};
use super::plan::Fault;
use super::schedules::Schedule;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// What each client requested and was answered.
    pub(super) clients: Vec<Client>,
    /// The sweeps that may have been carried out.
    pub(super) sweeps: Vec<Sweep>,
    /// What each schedule's client requested and was answered.
    pub(super) schedules: Vec<ScheduleClient>,
    /// The records of all firings.
    pub(super) firings: Vec<Firing>,
    /// Both databases, by job.
    pub(super) groups: HashMap<JobId, Group>,
    /// The workers' histories, each in its order, together in that of their times.
    pub(super) history: Vec<HistoryEvent>,
    /// The runs whose keyed effect is there.
    pub(super) effects: HashSet<RunId>,
    /// What was done to the stack.
    pub(super) done: Vec<Done>,
    /// When which workers' processes ended.
    pub(super) exits: Vec<WorkerExit>,
    /// What is left in the broker: of each consumer, how much waits or is unacked.
    pub(super) left: Vec<(String, u64)>,
    /// Processes of programs that still run.
    pub(super) programs: Vec<u32>,
    /// What `fsck` says at the end.
    pub(super) fsck: Report,
    /// The workers' lease.
    pub(super) lease: Duration,
    /// How long the system takes to recover from a fault: processes start again, connections are made anew, primaries
    /// are elected.
    pub(super) recovery: Duration,
    /// Nothing was to go wrong.
    pub(super) no_faults: bool,
    /// Why the wait until the system is idle was given up, if it was.
    pub(super) not_idle: Option<String>,
}

/// What became of a job's creation, as its client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Created {
    /// An answer said so.
    Yes(JobId),
    /// An answer said that its object has a job already.
    Refused,
    /// No answer, or one that leaves it open.
    #[default]
    Unknown,
}

/// What became of a job's deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Deleted {
    /// Nobody asked for it.
    #[default]
    No,
    /// It was asked for, and the answer leaves it open.
    Maybe,
    /// An answer said so.
    Yes,
}

/// What a client requested and was answered, in the order of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) script: Script,
    pub(super) created: Created,
    /// Where the job stood, as answers said, one after the other.
    pub(super) seen: Vec<Position>,
    /// The runs whose cancel was requested, and may have been carried out.
    pub(super) cancels: HashSet<u32>,
    /// Retries that were answered with 202.
    pub(super) retries: u32,
    /// Retries without a clear answer.
    pub(super) unclear_retries: u32,
    /// What became of its change.
    pub(super) changed: Changed,
    /// Whether it is gone.
    pub(super) deleted: Deleted,
    /// Answers that no client should get.
    pub(super) wrong: Vec<String>,
}

impl Client {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script,
            created: Created::Unknown,
            seen: Vec::new(),
            cancels: HashSet::new(),
            retries: 0,
            unclear_retries: 0,
            changed: Changed::No,
            deleted: Deleted::No,
            wrong: Vec::new(),
        }
    }
}

/// What the client of a schedule requested and was answered.
#[derive(Clone, Debug)]
pub(super) struct ScheduleClient {
    pub(super) schedule: Schedule,
    pub(super) uid: Uuid,
    /// The first due time.
    pub(super) starts_at: Timestamp,
    /// No due time is later.
    pub(super) ends_at: Timestamp,
    /// What it asked for by hand.
    pub(super) triggers: Vec<Trigger>,
    /// Answers that no client should get.
    pub(super) wrong: Vec<String>,
}

/// A request to fire now.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    /// Its `Idempotency-Key`.
    pub(super) key: String,
    /// The job of its answer; none where no answer was clear.
    pub(super) answered: Option<JobId>,
}

/// What became of a client's change of its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Changed {
    /// It was not asked for, or was refused.
    #[default]
    No,
    /// It was asked for, and no answer was clear.
    Maybe,
    /// It was carried out.
    Yes,
}

/// An event of a worker's history, as `job-service/src/history.rs` writes it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HistoryEvent {
    pub(super) at: i64,
    pub(super) worker: String,
    #[serde(rename = "event")]
    pub(super) name: String,
    pub(super) run: RunId,
    pub(super) attempt: u32,
    pub(super) status: Option<Status>,
    pub(super) outcome: Option<AttemptOutcome>,
    pub(super) first: Option<bool>,
}

/// A fault that was carried out, from when to when, and the process it hit.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) fault: Fault,
    pub(super) pid: Option<u32>,
}

/// The end of a worker's process.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerExit {
    pub(super) at: i64,
    pub(super) pid: u32,
}

impl From<stack::End> for WorkerExit {
    fn from(end: stack::End) -> Self {
        let at = end.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at: i64::try_from(at.as_millis()).unwrap_or(i64::MAX), pid: end.pid }
    }
}
