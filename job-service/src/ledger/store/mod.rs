//! Every database call of the ledger.

mod cancels;
mod claims;
mod doubts;
mod endings;
mod leases;
mod marks;
mod scans;

pub use cancels::{CancelWanted, Cancels};
pub use claims::{Announced, Claimed};
pub use endings::Recorded;
pub use leases::Renewal;
pub use scans::Taken;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bson::{Bson, doc};
use mongodb::{
    IndexModel,
    options::{FindOptions, IndexOptions},
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use service_kit::{
    GroupCommit, GroupLimits, Mongo, StoreError,
    mongo::{DEADLINE, Durability, Read},
};
use shared_events::{AttemptSummary, RunId, Status, WorkerId};

use self::{
    doubts::Doubts,
    marks::{Mark, MarkChange},
};
use super::{Run, fence::Fence};
use crate::{
    chronicle::Chronicle,
    held::{Claiming, Held},
};

/// The collection of runs.
pub(crate) const RUNS: &str = "runs";

/// Under load, the longest time from one command of claims or of outcomes to the next.
const PACE: Duration = Duration::from_millis(30);

/// The runs that this service knows.
#[derive(Clone)]
pub struct Ledger {
    core: Arc<Core>,
    claims: GroupCommit<Announced, Claimed>,
    endings: GroupCommit<Arc<Run>, Recorded>,
    marks: GroupCommit<Mark, ()>,
}

struct Core {
    mongo: Mongo,
    worker: WorkerId,
    held: Held,
    lease: Duration,
    carries: bool,
    chronicle: Chronicle,
    doubts: Doubts,
}

impl Ledger {
    /// Prepares the ledger of `worker`; `held` are the runs that it is running. `carries` says whether announcements
    /// carry runs at first (see [`crate::carrier`]), or the ledger cares for them at once.
    #[must_use]
    pub fn new(
        mongo: Mongo,
        worker: WorkerId,
        held: Held,
        lease: Duration,
        carries: bool,
        chronicle: Chronicle,
    ) -> Self {
        let mongo = mongo.slow_after(lease / 6);
        let doubts = Doubts::default();
        let core = Arc::new(Core { mongo, worker, held, lease, carries, chronicle, doubts });
        let limits = GroupLimits { pace: PACE, ..GroupLimits::default() };
        let claims = {
            let core = Arc::clone(&core);
            GroupCommit::start(limits, move |claims| Arc::clone(&core).commit_claims(claims))
        };
        let endings = {
            let core = Arc::clone(&core);
            GroupCommit::start(limits, move |runs| Arc::clone(&core).commit_endings(runs))
        };
        let marks = {
            let core = Arc::clone(&core);
            // Nobody waits for a mark, so many may share a command.
            let unhurried = GroupLimits { gather: Duration::from_millis(50), ..limits };
            GroupCommit::start(unhurried, move |marks| Arc::clone(&core).commit_marks(marks))
        };
        Self { core, claims, endings, marks }
    }

    /// The worker whose ledger this is.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.core.worker
    }

    /// The database.
    #[must_use]
    pub fn mongo(&self) -> &Mongo {
        &self.core.mongo
    }

    /// Makes sure that the index is there: one for everything that is due.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        let options =
            IndexOptions::builder().partial_filter_expression(doc! { "due": { "$exists": true } }).build();
        let index = IndexModel::builder().keys(doc! { "duty": 1, "due": 1 }).options(options).build();
        let runs = self.core.mongo.collection::<Run>(RUNS);
        self.core.mongo.run(async move { runs.create_index(index).await }).await.map(drop)
    }

    /// Claims an announced run, journaled.
    ///
    /// # Errors
    /// Where the database did not do it: give the announcement back.
    pub async fn claim(&self, announced: Announced) -> Result<Claimed, StoreError> {
        let id = announced.created.run_id();
        let claimed = self.claims.submit(announced).await;
        if claimed.as_ref().is_err_and(StoreError::may_be_done) {
            self.core.doubts.raise([id]);
        }
        claimed
    }

    /// Waits until the outcomes of claims are in doubt, and says of how many.
    pub async fn in_doubt(&self) -> usize {
        self.core.doubts.any().await
    }

    /// Up to `most` runs whose claim was in doubt and that turned out to be this worker's: they are to be run.
    ///
    /// # Errors
    /// Where the database does not answer: they stay in doubt.
    pub async fn take_doubtful(&self, most: usize) -> Result<Vec<(Run, Claiming)>, StoreError> {
        self.core.take_doubtful(most).await
    }

    /// Records how a run's attempt ended: `run` is as it is to be, its attempt unchanged. Journaled.
    ///
    /// # Errors
    /// Where that is not known: do it again.
    pub async fn record(&self, run: Arc<Run>) -> Result<Recorded, StoreError> {
        self.endings.submit(run).await
    }

    /// Takes the outbox mark off a run whose latest news has been stored by the broker.
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
    /// Where the database did not do it: what carries the run must not be acked.
    pub async fn leave_to_scan(&self, run: &Run) -> Result<(), StoreError> {
        self.marks.submit(Mark { run: run.id, fence: run.fence(), becomes: MarkChange::Set }).await
    }

    /// Renews the leases of runs that this worker is running, each with its attempt. What carries them may be acked only
    /// where that is journaled.
    ///
    /// # Errors
    /// Where the database does not answer: nobody is refused by that.
    pub async fn renew(
        &self,
        held: Vec<(RunId, u32)>,
        durability: Durability,
    ) -> Result<Renewal, StoreError> {
        let mut renewal = Renewal::default();
        for chunk in held.chunks(1000) {
            self.core.renew(chunk, durability, &mut renewal).await?;
        }
        Ok(renewal)
    }

    /// Has runs cancelled: flags those that run, ends those that do not, and leaves a tombstone for
    /// those that are not known, so that a later announcement finds them ended.
    ///
    /// # Errors
    /// Where that is not known to be done: do it again.
    pub async fn cancel(&self, wanted: Vec<CancelWanted>) -> Result<Cancels, StoreError> {
        let core = Arc::clone(&self.core);
        let cancel = async move { core.cancel(&wanted).await };
        self.core.mongo.within(DEADLINE, cancel).await
    }

    /// Writes something, to learn whether the database takes writes.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.core.mongo.check_writable(self.core.worker.as_str()).await
    }
}

/// Runs that were looked for.
#[derive(Debug)]
struct Runs {
    runs: Vec<Run>,
    /// They have documents that this version can not read.
    unreadable: Vec<RunId>,
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
