//! Every database call of the ledger.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bson::{DateTime, RawDocumentBuf, doc, rawdoc};
use futures::TryStreamExt;
use mongodb::{IndexModel, options::IndexOptions};
use serde::{Deserialize, Serialize};
use service_kit::{
    GroupCommit, GroupLimits, Mongo, StoreError, Weigh,
    mongo::{Durability, Statement},
};
use shared_events::{JobCreated, Queue, RunId, Status, TraceContext, WorkerId};

use super::{Duty, Found, Run, examine};
use crate::held::Held;

const RUNS: &str = "runs";

/// The runs that this service knows.
#[derive(Clone)]
pub struct Ledger {
    core: Arc<Core>,
    claims: GroupCommit<Announced, Claimed>,
    endings: GroupCommit<Run, Recorded>,
    told: GroupCommit<Told, ()>,
}

struct Core {
    mongo: Mongo,
    worker: WorkerId,
    held: Held,
    lease: Duration,
}

/// An announcement, as it came.
#[derive(Debug)]
pub struct Announced {
    /// What it says.
    pub created: JobCreated,
    /// Its trace.
    pub trace: Option<TraceContext>,
}

/// What became of a claim. In each case the ledger is responsible from here on, and the
/// announcement can be acked.
#[derive(Debug)]
pub enum Claimed {
    /// This worker is to run it.
    Mine(Box<Run>),
    /// It has ended, now or before: that is to be told.
    Ended(Box<Run>),
    /// Nothing to do.
    Settled,
}

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

/// What a renewal learnt.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Somebody else owns these by now.
    pub superseded: Vec<RunId>,
    /// These are to stop.
    pub cancelled: Vec<RunId>,
}

/// An end that has been announced.
#[derive(Debug)]
struct Told {
    id: RunId,
    attempt: u32,
    status: Status,
    next_at: Option<DateTime>,
}

impl Weigh for Announced {
    fn weight(&self) -> usize {
        self.created.payload.as_str().len() + 700
    }
}

impl Weigh for Run {
    fn weight(&self) -> usize {
        self.result.as_ref().map_or(0, String::len) + self.attempts.len() * 5000 + 400
    }
}

impl Weigh for Told {
    fn weight(&self) -> usize {
        200
    }
}

impl Ledger {
    /// Prepares the ledger of `worker`; `held` are the runs that it is running.
    #[must_use]
    pub fn new(mongo: Mongo, worker: WorkerId, held: Held, lease: Duration) -> Self {
        let mongo = mongo.slow_after(lease / 6);
        let core = Arc::new(Core { mongo, worker, held, lease });
        let limits = GroupLimits::default();
        let claims = {
            let core = Arc::clone(&core);
            GroupCommit::start(limits, move |claims| Arc::clone(&core).commit_claims(claims))
        };
        let endings = {
            let core = Arc::clone(&core);
            GroupCommit::start(limits, move |runs| Arc::clone(&core).commit_endings(runs))
        };
        let told = {
            let core = Arc::clone(&core);
            GroupCommit::start(GroupLimits { lanes: 1, ..limits }, move |told| {
                Arc::clone(&core).commit_told(told)
            })
        };
        Self { core, claims, endings, told }
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
        self.claims.submit(announced).await
    }

    /// Records how a run's attempt ended: `run` is as it is to be, its attempt unchanged. Journaled.
    ///
    /// # Errors
    /// Where that is not known: do it again.
    pub async fn record(&self, run: Run) -> Result<Recorded, StoreError> {
        self.endings.submit(run).await
    }

    /// Takes the outbox mark off a run whose latest news has been stored by the broker.
    ///
    /// # Errors
    /// Where the database did not do it; a scan will announce again.
    pub async fn announced(&self, run: &Run) -> Result<(), StoreError> {
        let told = Told { id: run.id, attempt: run.attempt, status: run.status, next_at: run.next_at };
        self.told.submit(told).await
    }

    /// Up to `most` runs of these queues whose retry is due or whose lease has ended, claimed for
    /// this worker; and those that ended instead, to be announced.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_due(&self, queues: &[Queue], most: usize) -> Result<Vec<Claimed>, StoreError> {
        let core = &self.core;
        let queues: Vec<&str> = queues.iter().map(Queue::as_str).collect();
        let filter = doc! {
            "duty": { "$in": ["run", "announce_and_run"] },
            "due": { "$lte": core.mongo.clock().now() },
            "queue": { "$in": queues },
        };
        let found = core.find(filter, most).await?;
        core.act_on(found).await
    }

    /// Up to `most` runs whose news was not announced in time. Replicas share them: whoever moves a
    /// run's `due` forward, to `again_at`, has it.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take_unannounced(&self, most: usize, again_at: DateTime) -> Result<Vec<Run>, StoreError> {
        let core = &self.core;
        let duty = doc! { "$in": ["announce", "announce_and_run"] };
        let due = doc! { "duty": duty, "due": { "$lte": core.mongo.clock().now() } };
        let ids: Vec<String> =
            core.find(due.clone(), most).await?.iter().map(|run| run.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sweep = bson::oid::ObjectId::new();
        let mut mine = due;
        mine.insert("_id", doc! { "$in": &ids });
        // A retry must not be put off past its time ($min passes over what is absent).
        let forward = doc! { "$set": { "due": { "$min": ["$next_at", again_at] }, "sweep": sweep } };
        let runs = core.mongo.collection::<Run>(RUNS);
        core.mongo.run(async move { runs.update_many(mine, vec![forward]).await }).await?;
        core.find(doc! { "_id": { "$in": ids }, "sweep": sweep }, most).await
    }

    /// Renews the leases of runs that this worker is running, each with its attempt.
    ///
    /// # Errors
    /// Where the database does not answer: nobody is refused by that.
    pub async fn renew(&self, held: Vec<(RunId, u32)>) -> Result<Renewal, StoreError> {
        let mut renewal = Renewal::default();
        for chunk in held.chunks(1000) {
            self.core.renew(chunk, &mut renewal).await?;
        }
        Ok(renewal)
    }

    /// Keeps a message that can not be read where it can be looked at.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn put_aside(&self, subject: &str, body: &[u8], error: &str) -> Result<(), StoreError> {
        self.core.mongo.put_aside(subject, body, error).await
    }

    /// Writes something, to learn whether the database takes writes.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.core.mongo.check_writable(self.core.worker.as_str()).await
    }

    /// Removes runs that ended before `before`; says how many.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn forget_ended_before(&self, before: DateTime) -> Result<u64, StoreError> {
        // Ids sort by their job's time of creation, so the primary index serves as one on time.
        let bound = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(
            u64::try_from(before.timestamp_millis() / 1000).unwrap_or(0),
            0,
            0,
            0,
        ));
        let filter = doc! { "_id": { "$lt": bound.to_string() }, "ended_at": { "$lt": before } };
        let runs = self.core.mongo.collection::<Run>(RUNS);
        self.core
            .mongo
            .run(async move { runs.delete_many(filter).await })
            .await
            .map(|done| done.deleted_count)
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
    cancel_requested: Option<bool>,
}

/// What an outcome writes.
#[derive(Serialize)]
struct Outcome<'a> {
    status: Status,
    charged: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime>,
    duty: Option<Duty>,
    due: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a shared_events::JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<shared_events::CancelReason>,
    attempts: &'a [shared_events::AttemptSummary],
}

impl Core {
    async fn commit_claims(self: Arc<Self>, claims: Vec<Announced>) -> Vec<Result<Claimed, StoreError>> {
        let now = self.mongo.clock().now();
        let fresh: Vec<Run> = claims
            .iter()
            .map(|claim| Run::fresh(&claim.created, claim.trace, &self.worker, now, self.lease))
            .collect();
        let inserted = match self.mongo.insert_many(RUNS, &fresh).await {
            Ok(inserted) => inserted,
            Err(error) => return fresh.iter().map(|_| Err(error.clone())).collect(),
        };
        let known: Vec<RunId> = inserted.duplicates.iter().map(|(index, _)| fresh[*index].id).collect();
        let mut known = self.look_at_known(known).await;
        let mut refused: HashMap<usize, StoreError> = inserted.refused.into_iter().collect();
        let duplicate: std::collections::HashSet<usize> =
            inserted.duplicates.iter().map(|(index, _)| *index).collect();
        fresh
            .into_iter()
            .enumerate()
            .map(|(index, run)| {
                if let Some(error) = refused.remove(&index) {
                    return Err(error);
                }
                if duplicate.contains(&index) {
                    return match &mut known {
                        Ok(known) => Ok(known.remove(&run.id).unwrap_or(Claimed::Settled)),
                        Err(error) => Err(error.clone()),
                    };
                }
                Ok(of_status(run))
            })
            .collect()
    }

    async fn look_at_known(&self, ids: Vec<RunId>) -> Result<HashMap<RunId, Claimed>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let texts: Vec<String> = ids.iter().map(RunId::to_string).collect();
        let found = self.find(doc! { "_id": { "$in": texts } }, 0).await?;
        let claimed = self.act_on(found).await?;
        let id_of = |claimed: &Claimed| match claimed {
            Claimed::Mine(run) | Claimed::Ended(run) => Some(run.id),
            Claimed::Settled => None,
        };
        Ok(claimed.into_iter().filter_map(|claimed| id_of(&claimed).map(|id| (id, claimed))).collect())
    }

    /// Does what [`examine`] says about each run.
    async fn act_on(&self, found: Vec<Run>) -> Result<Vec<Claimed>, StoreError> {
        let now = self.mongo.clock().now();
        // Longer than the others need to renew theirs, which they do every third of a lease.
        let pause = (self.lease / 2).max(Duration::from_secs(2));
        let may_take_over = self.mongo.since_failure().is_none_or(|since| since > pause);
        let (mut done, mut changes) = (Vec::new(), Vec::new());
        let mut tell_again = bson::RawArrayBuf::new();
        for run in found {
            let runs_here = self.held.contains(&run.id);
            match examine(&run, now, &self.worker, runs_here, may_take_over) {
                Found::Claim => {
                    let next = run.claimed(&self.worker, now, self.lease);
                    changes.push((run, next));
                }
                Found::GiveUp => {
                    let next = run.given_up(now);
                    changes.push((run, next));
                }
                Found::Resume => done.push(Claimed::Mine(Box::new(run))),
                Found::Republish => {
                    tell_again.push(run.id.to_string());
                    done.push(Claimed::Ended(Box::new(Run { duty: Some(Duty::Announce), ..run })));
                }
                Found::Leave => {}
            }
        }
        if !tell_again.is_empty() {
            let unmarked = rawdoc! { "_id": { "$in": tell_again }, "duty": { "$exists": false } };
            let mark = rawdoc! { "$set": { "duty": "announce", "due": now } };
            self.mongo.update(RUNS, vec![Statement::many(unmarked, mark)], Durability::InMemory).await?;
        }
        done.extend(self.replace(changes).await?.into_iter().map(of_status));
        Ok(done)
    }

    /// Puts each second document in the place of its first, if that is still as it was read;
    /// answers with those that are in place.
    async fn replace(&self, changes: Vec<(Run, Run)>) -> Result<Vec<Run>, StoreError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = Vec::with_capacity(changes.len());
        for (read, next) in &changes {
            let as_read = doc! {
                "_id": read.id.to_string(),
                "status": read.status.as_str(),
                "attempt": i64::from(read.attempt),
                "lease_until": read.lease_until,
                "cancel_requested": read.cancel_requested,
            };
            statements.push(Statement::one(raw(&as_read)?, raw(next)?));
        }
        let all = changes.len() as u64;
        let next: Vec<Run> = changes.into_iter().map(|(_, next)| next).collect();
        if self.mongo.update(RUNS, statements, Durability::Journaled).await? == all {
            return Ok(next);
        }
        let seen = self.glance(next.iter().map(|run| run.id)).await?;
        let in_place = |run: &Run| {
            seen.get(&run.id).is_some_and(|seen| {
                (seen.attempt, seen.status, &seen.worker) == (run.attempt, run.status, &run.worker)
            })
        };
        Ok(next.into_iter().filter(in_place).collect())
    }

    async fn commit_endings(self: Arc<Self>, runs: Vec<Run>) -> Vec<Result<Recorded, StoreError>> {
        match self.try_endings(&runs).await {
            Ok(recorded) => recorded,
            Err(error) => runs.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn try_endings(&self, runs: &[Run]) -> Result<Vec<Result<Recorded, StoreError>>, StoreError> {
        let mut statements = Vec::with_capacity(runs.len());
        for run in runs {
            let mut mine = rawdoc! {
                "_id": run.id.to_string(),
                "attempt": i64::from(run.attempt),
                "status": Status::Running.as_str(),
            };
            if run.status == Status::Queued {
                mine.append(bson::raw::cstr!("cancel_requested"), rawdoc! { "$exists": false });
            }
            let outcome = Outcome {
                status: run.status,
                charged: run.charged,
                next_at: run.next_at,
                duty: run.duty,
                due: run.due,
                ended_at: run.ended_at,
                result: run.result.as_deref(),
                error: run.error.as_ref(),
                reason: run.reason,
                attempts: &run.attempts,
            };
            statements.push(Statement::one(mine, rawdoc! { "$set": raw(&outcome)? }));
        }
        if self.mongo.update(RUNS, statements, Durability::Journaled).await? == runs.len() as u64 {
            return Ok(runs.iter().map(|_| Ok(Recorded::Stored)).collect());
        }
        let seen = self.glance(runs.iter().map(|run| run.id)).await?;
        Ok(runs.iter().map(|run| judge(run, seen.get(&run.id))).collect())
    }

    async fn commit_told(self: Arc<Self>, told: Vec<Told>) -> Vec<Result<(), StoreError>> {
        let mut statements = Vec::new();
        let mut ended = bson::RawArrayBuf::new();
        for told in &told {
            let id = told.id.to_string();
            match told.next_at.filter(|_| told.status == Status::Queued) {
                Some(next_at) => statements.push(Statement::one(
                    rawdoc! { "_id": id, "attempt": i64::from(told.attempt), "duty": "announce_and_run" },
                    rawdoc! { "$set": { "duty": "run", "due": next_at } },
                )),
                None => ended.push(id),
            }
        }
        if !ended.is_empty() {
            statements.push(Statement::many(
                rawdoc! { "_id": { "$in": ended }, "duty": "announce" },
                rawdoc! { "$unset": { "duty": "", "due": "" } },
            ));
        }
        let done = self.mongo.update(RUNS, statements, Durability::InMemory).await.map(drop);
        told.iter().map(|_| done.clone()).collect()
    }

    async fn renew(&self, held: &[(RunId, u32)], renewal: &mut Renewal) -> Result<(), StoreError> {
        let until = self.mongo.clock().after(self.lease);
        let mut by_attempt: HashMap<u32, bson::RawArrayBuf> = HashMap::new();
        for (id, attempt) in held {
            by_attempt.entry(*attempt).or_default().push(id.to_string());
        }
        let statements = by_attempt
            .into_iter()
            .map(|(attempt, ids)| {
                let mine = rawdoc! {
                    "_id": { "$in": ids },
                    "attempt": i64::from(attempt),
                    "status": Status::Running.as_str(),
                    "cancel_requested": { "$exists": false },
                };
                Statement::many(mine, rawdoc! { "$set": { "lease_until": until, "due": until } })
            })
            .collect();
        let mongo = self.mongo.clone();
        let update = tokio::spawn(async move { mongo.update(RUNS, statements, Durability::InMemory).await });
        let renewed = update.await.map_err(|_| StoreError::Unknown)??;
        if renewed == held.len() as u64 {
            return Ok(());
        }
        let seen = self.glance(held.iter().map(|(id, _)| *id)).await?;
        for (id, attempt) in held {
            match seen.get(id) {
                Some(seen) if seen.status == Status::Running && seen.attempt == *attempt => {
                    if seen.cancel_requested.is_some() {
                        renewal.cancelled.push(*id);
                    }
                }
                _ => renewal.superseded.push(*id),
            }
        }
        Ok(())
    }

    async fn glance(&self, ids: impl Iterator<Item = RunId>) -> Result<HashMap<RunId, Glance>, StoreError> {
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        let runs = self.mongo.collection::<Glance>(RUNS);
        let fields = doc! { "status": 1, "attempt": 1, "worker": 1, "cancel_requested": 1 };
        let seen: Vec<Glance> = self
            .mongo
            .run(async move {
                runs.find(doc! { "_id": { "$in": ids } }).projection(fields).await?.try_collect().await
            })
            .await?;
        Ok(seen.into_iter().map(|glance| (glance.id, glance)).collect())
    }

    /// At most `most` runs; 0 stands for all.
    async fn find(&self, filter: bson::Document, most: usize) -> Result<Vec<Run>, StoreError> {
        let runs = self.mongo.collection::<Run>(RUNS);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.mongo.run(async move { runs.find(filter).limit(most).await?.try_collect().await }).await
    }
}

fn of_status(run: Run) -> Claimed {
    if run.status == Status::Running { Claimed::Mine(Box::new(run)) } else { Claimed::Ended(Box::new(run)) }
}

/// What a second look tells about an outcome that may not have been taken.
fn judge(run: &Run, seen: Option<&Glance>) -> Result<Recorded, StoreError> {
    match seen {
        Some(seen) if seen.attempt == run.attempt && seen.status == run.status => Ok(Recorded::Stored),
        Some(seen) if seen.attempt == run.attempt && seen.status == Status::Running => {
            if seen.cancel_requested.is_some() {
                Ok(Recorded::CancelRequested)
            } else {
                Err(StoreError::Unknown)
            }
        }
        _ => Ok(Recorded::Superseded),
    }
}

fn raw(value: &impl Serialize) -> Result<RawDocumentBuf, StoreError> {
    bson::serialize_to_raw_document_buf(value).map_err(|error| StoreError::Unreadable(error.to_string()))
}
