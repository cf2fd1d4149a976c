//! Every database call of the ledger. It returns data: what follows from it, its callers decide.

mod cancels;
mod claims;
mod ends;
mod leases;
mod marks;
mod scans;

pub use cancels::{CancelRequest, Cancels};
pub use ends::Recorded;
pub use leases::Renewal;
pub use scans::{DueKinds, DueRuns, Taken};

use std::{collections::HashMap, sync::Arc, time::Duration};

use bson::{Bson, doc};
use mongodb::{
    IndexModel,
    options::{FindOptions, IndexOptions},
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use service_kit::{
    GroupCommit, GroupLimits, Mongo, StoreError,
    mongo::{DEADLINE, Durability, IndexesOf, Read},
};
use shared_events::{AttemptSummary, RunId, Status, WorkerId};

use self::marks::{Mark, MarkChange};
use super::{EndedRun, Run, fence::Fence};

/// The collection of runs.
pub const RUNS: &str = "runs";

/// Under load, the longest time from one command of outcomes, or of claims, to the next.
pub(crate) const PACING: Duration = Duration::from_millis(30);

/// The runs that this service knows. Copies share it.
#[derive(Clone)]
pub struct Ledger {
    core: Arc<Core>,
    ends: GroupCommit<Arc<Run>, Recorded>,
    marks: GroupCommit<Mark, ()>,
}

struct Core {
    mongo: Mongo,
    worker: WorkerId,
    lease: Duration,
}

impl Ledger {
    /// Prepares the ledger of `worker`.
    #[must_use]
    pub fn new(mongo: Mongo, worker: WorkerId, lease: Duration) -> Self {
        let mongo = mongo.slow_after(lease / 6);
        let core = Arc::new(Core { mongo, worker, lease });
        let limits = GroupLimits { name: "ends", pacing: PACING, ..GroupLimits::default() };
        let ends = {
            let core = Arc::clone(&core);
            GroupCommit::start(limits, move |runs| Arc::clone(&core).commit_ends(runs))
        };
        let marks = {
            let core = Arc::clone(&core);
            // Nobody waits for a mark, so many may share a command.
            let unhurried = GroupLimits { name: "marks", linger: Duration::from_millis(50), ..limits };
            GroupCommit::start(unhurried, move |marks| Arc::clone(&core).commit_marks(marks))
        };
        Self { core, ends, marks }
    }

    /// The worker whose ledger this is.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.core.worker
    }

    /// How long a claim holds unless it is renewed.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.core.lease
    }

    /// The database.
    #[must_use]
    pub fn mongo(&self) -> &Mongo {
        &self.core.mongo
    }

    /// Makes sure that the index is there: one for all next actions.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.core.mongo.create_indexes(vec![Self::indexes()]).await
    }

    /// What it is.
    #[must_use]
    pub fn indexes() -> IndexesOf {
        let there = doc! { "next_action_at": { "$exists": true } };
        let options = IndexOptions::builder().partial_filter_expression(there).build();
        let keys = doc! { "next_action": 1, "next_action_at": 1 };
        let index = IndexModel::builder().keys(keys).options(options).build();
        IndexesOf { collection: RUNS, indexes: vec![index] }
    }

    /// Records how a run's attempt ended: `run` is as it is to be, its attempt unchanged. Journaled.
    ///
    /// # Errors
    /// Where that is not known: do it again.
    pub async fn record(&self, run: Arc<Run>) -> Result<Recorded, StoreError> {
        self.ends.submit(run).await
    }

    /// Takes the outbox mark off a run whose latest event has been stored by the broker.
    ///
    /// # Errors
    /// Where the database did not do it; a scan will announce again.
    pub async fn announced(&self, run: &Run) -> Result<(), StoreError> {
        self.marks
            .submit(Mark {
                run: run.id,
                fence: run.fence(),
                becomes: match run.next_at.filter(|_| run.status == Status::Queued) {
                    Some(next_at) => MarkChange::OffRetry(next_at),
                    None => MarkChange::Off,
                },
            })
            .await
    }

    /// Sets the outbox mark of a run that has ended without one: a scan is to announce it. Journaled.
    ///
    /// # Errors
    /// Where the database did not do it: its announcement must not be acked.
    pub async fn leave_to_scan(&self, run: EndedRun) -> Result<(), StoreError> {
        self.marks.submit(Mark { run: run.id, fence: run.fence, becomes: MarkChange::Set }).await
    }

    /// Renews the leases of runs that this worker is running, each with its attempt. Their announcements may be acked only
    /// where that is journaled.
    ///
    /// # Errors
    /// Where the database does not answer: nobody is refused by that.
    pub async fn renew(
        &self,
        running: Vec<(RunId, u32)>,
        durability: Durability,
    ) -> Result<Renewal, StoreError> {
        let mut renewal = Renewal::default();
        for chunk in running.chunks(1000) {
            self.core.renew(chunk, durability, &mut renewal).await?;
        }
        Ok(renewal)
    }

    /// How runs stand; of those alone that the ledger knows, as states that this version knows.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn standing(&self, runs: &[RunId]) -> Result<HashMap<RunId, Standing>, StoreError> {
        let seen = self.core.glance(runs.iter().copied()).await?;
        let standing = |Glance { status, attempt, worker, .. }| Standing { status, attempt, worker };
        Ok(seen.into_iter().map(|(id, seen)| (id, standing(seen))).collect())
    }

    /// Has runs cancelled: flags those that run, ends those that do not, and leaves a tombstone for
    /// those that are not known, so that a later announcement finds them ended.
    ///
    /// # Errors
    /// Where that is not known to be done: do it again.
    pub async fn cancel(&self, requests: Vec<CancelRequest>) -> Result<Cancels, StoreError> {
        let core = Arc::clone(&self.core);
        let cancel = async move { core.cancel(&requests).await };
        self.core.mongo.within(DEADLINE, cancel).await
    }
}

/// How a run stands, and who made its latest attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its status.
    pub status: Status,
    /// Its latest attempt.
    pub attempt: u32,
    /// Whose that is.
    pub worker: Option<WorkerId>,
}

/// Runs that were looked for.
#[derive(Debug, Default)]
pub struct Runs {
    /// Those that this version can read.
    pub runs: Vec<Run>,
    /// The others: they have documents that this version can not read.
    pub unreadable: Vec<RunId>,
}

impl Runs {
    fn of(read: Read<Run>) -> Self {
        let id = |id: &Bson| id.as_str().and_then(|id| id.parse().ok());
        Self { runs: read.documents, unreadable: read.unreadable.iter().filter_map(id).collect() }
    }
}

/// What a second look at a run tells about a write whose effect is in doubt.
#[derive(Debug, Deserialize)]
struct Glance {
    #[serde(rename = "_id")]
    id: RunId,
    status: Status,
    attempt: u32,
    worker: Option<WorkerId>,
    #[serde(default, deserialize_with = "whether_there")]
    cancel_requested: Option<bool>,
    /// The last one alone, if this version can read it; its own ones it can.
    #[serde(default, deserialize_with = "readable_ones")]
    attempts: Vec<AttemptSummary>,
}

fn whether_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| Some(true))
}

fn readable_ones<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AttemptSummary>, D::Error> {
    let attempts = Vec::<Bson>::deserialize(deserializer)?;
    Ok(attempts.into_iter().filter_map(|attempt| bson::deserialize_from_bson(attempt).ok()).collect())
}

impl Glance {
    fn fence(&self) -> Fence {
        Fence::new(self.attempt, self.worker.clone())
    }

    /// Whether this worker's attempt goes on, as far as the ledger is concerned.
    fn is_held_by(&self, attempt: u32, worker: &WorkerId) -> bool {
        self.status == Status::Running && self.attempt == attempt && self.worker.as_ref() == Some(worker)
    }

    /// Whether this is what a write of `run` would have left. Others may have ended or closed the same
    /// attempt with the same status; the account of its last attempt tells whose write it was.
    fn shows(&self, run: &Run) -> bool {
        self.fence() == run.fence()
            && self.status == run.status
            && self.attempts.last() == run.attempts.last()
    }
}

impl Core {
    async fn glance(&self, ids: impl Iterator<Item = RunId>) -> Result<HashMap<RunId, Glance>, StoreError> {
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let last = doc! { "$slice": -1 };
        let fields = doc! { "status": 1, "attempt": 1, "worker": 1, "cancel_requested": 1, "attempts": last };
        let options = FindOptions::builder().projection(fields).build();
        // A run that stands where this version knows no state is not what it has made of it.
        let seen = self.mongo.read(RUNS, doc! { "_id": { "$in": ids } }, options).await?;
        Ok(seen.documents.into_iter().map(|glance: Glance| (glance.id, glance)).collect())
    }

    async fn find(&self, filter: bson::Document) -> Result<Runs, StoreError> {
        Ok(Runs::of(self.mongo.read(RUNS, filter, FindOptions::default()).await?))
    }
}
