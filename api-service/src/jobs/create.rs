//! Creating a job: one insert.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use service_kit::faults::gap;
use shared_events::TraceContext;
use tokio::runtime::Handle;
use tracing::{debug, error};

use super::{
    Draft, Duty, IdempotencyKey, Job, Jobs,
    document::job_id,
    idempotency::may_be_the_same,
    remains::KEY_KEPT,
    store::{Claim, Holder, Inserted},
};
use crate::{problem::Problem, relay::Relay};

/// Creates jobs.
#[derive(Clone)]
pub struct Creator {
    jobs: Jobs,
    relay: Relay,
    rerun_window: Duration,
    announce_after: Duration,
    runtime: Handle,
}

/// What a request to create a job led to.
#[derive(Debug)]
pub enum Created {
    /// A new job.
    New(Arc<Job>),
    /// The job that was created by the same request before.
    Before(Arc<Job>),
}

/// One job of several that are created together.
#[derive(Debug)]
pub struct Member {
    /// The job.
    pub draft: Draft,
    /// Its key.
    pub key: Option<IdempotencyKey>,
}

/// What has the same key is together, in its order, each with its place; what has none is alone.
fn by_key<E>(members: Vec<Result<Member, E>>) -> Vec<Vec<(usize, Result<Member, E>)>> {
    let mut places: HashMap<IdempotencyKey, usize> = HashMap::new();
    let mut groups: Vec<Vec<_>> = Vec::with_capacity(members.len());
    for (index, member) in members.into_iter().enumerate() {
        let key = member.as_ref().ok().and_then(|member| member.key.clone());
        let next = groups.len();
        let place = key.map_or(next, |key| *places.entry(key).or_insert(next));
        if place == next {
            groups.push(Vec::new());
        }
        groups[place].push((index, member));
    }
    groups
}

impl Creator {
    /// Prepares it, to be used from any thread; called on the runtime that jobs are to be created on.
    #[must_use]
    pub fn new(jobs: Jobs, relay: Relay, rerun_window: Duration, announce_after: Duration) -> Self {
        Self { jobs, relay, rerun_window, announce_after, runtime: Handle::current() }
    }

    /// Stores the job, journaled, and has it announced.
    ///
    /// # Errors
    /// 409 while the object's window is taken; 410 where the key's job is gone; 422 where the key was used for
    /// something else; 503 where the job is not known to be stored.
    pub async fn create(
        &self,
        draft: Draft,
        key: Option<IdempotencyKey>,
        trace: TraceContext,
    ) -> Result<Created, Problem> {
        let creator = self.clone();
        self.to_the_end(async move { creator.store(draft, key, trace).await }).await?
    }

    /// The same for many, all at once, so that they share the commit; each has its own answer, in order. Of
    /// several with one key, the first is stored, and the others are answered after it.
    ///
    /// # Errors
    /// Where nothing is known of any of them.
    pub async fn create_all(
        &self,
        members: Vec<Result<Member, Problem>>,
        trace: TraceContext,
    ) -> Result<Vec<Result<Created, Problem>>, Problem> {
        let creator = self.clone();
        self.to_the_end(async move {
            let creator = &creator;
            let creating = by_key(members).into_iter().map(|alike| creator.store_in_turn(alike, trace));
            let mut created: Vec<_> = join_all(creating).await.into_iter().flatten().collect();
            created.sort_by_key(|(index, _)| *index);
            created.into_iter().map(|(_, created)| created).collect()
        })
        .await
    }

    /// Stores drafts one after the other, each with its place. Where the database or the broker has no room or
    /// no answer for one, it is not asked about the rest.
    async fn store_in_turn(
        &self,
        members: Vec<(usize, Result<Member, Problem>)>,
        trace: TraceContext,
    ) -> Vec<(usize, Result<Created, Problem>)> {
        let (mut created, mut unavailable) = (Vec::with_capacity(members.len()), None);
        for (index, member) in members {
            let done = match (member, &unavailable) {
                (Err(problem), _) => Err(problem),
                (Ok(_), Some(problem)) => Err(Problem::clone(problem)),
                (Ok(member), None) => self.store(member.draft, member.key, trace).await,
            };
            if let Err(problem) = &done
                && problem.status() == 503
            {
                unavailable = Some(problem.clone());
            }
            created.push((index, done));
        }
        created
    }

    /// In a task of its own: a client that goes away ends its request's future, and a job that was
    /// stored by then would be left to the scan. On the runtime of the database's and the broker's
    /// connections, where no step has to wake another thread.
    async fn to_the_end<T: Send + 'static>(
        &self,
        creating: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        self.runtime.spawn(creating).await.map_err(|panic| {
            error!(%panic, "creating a job broke off");
            Problem::unavailable("creating the job broke off")
        })
    }

    async fn store(
        &self,
        draft: Draft,
        key: Option<IdempotencyKey>,
        trace: TraceContext,
    ) -> Result<Created, Problem> {
        if self.relay.is_full(&draft.queue) {
            return Err(Problem::outbox_full());
        }
        let (clock, mark) = (self.jobs.mongo().clock(), self.relay.mark_for(&draft.queue));
        let patience = if mark == Duty::Announce { self.announce_after } else { Duration::ZERO };
        let job = Arc::new(draft.into_job(mark, key, clock.now(), clock.after(patience), trace));
        // Each round either stores the job, finds a live hold, or has ended one that is over; two
        // requests for one object can make each other try again, but not for long.
        for _ in 0..10 {
            gap("api.create.read");
            match self.jobs.insert(Arc::clone(&job)).await? {
                Inserted::Stored => {
                    debug!(target: "job", { job.id = %job.job_id(), job.kind = %job.kind, trace_id = trace.trace_id() }, "job created");
                    gap("api.create.stored");
                    self.relay.announce_soon(Arc::clone(&job)).await;
                    return Ok(Created::New(job));
                }
                Inserted::Taken => {
                    // The key comes first: a request that is sent again must not be refused by the
                    // window that it has taken itself.
                    if let Some(before) = self.created_before(&job).await? {
                        return Ok(Created::Before(Arc::new(before)));
                    }
                    self.end_window_that_is_over(&job).await?;
                }
            }
        }
        Err(Problem::unavailable("the object's window changes hands too quickly"))
    }

    async fn created_before(&self, job: &Job) -> Result<Option<Job>, Problem> {
        let Some(key) = job.idempotency_key.as_deref() else { return Ok(None) };
        let Some(holder) = self.jobs.holder(Claim::Key, key).await? else { return Ok(None) };
        if self.left_ms(&holder, KEY_KEPT) <= 0 {
            self.jobs.end_hold(Claim::Key, holder.id(), key).await?;
            return Ok(None);
        }
        let id = job_id(holder.id()).to_string();
        let (stored, hash) = (holder.idempotency_hash(), job.idempotency_hash.as_deref());
        if !may_be_the_same(stored.unwrap_or_default(), hash.unwrap_or_default()) {
            return Err(Problem::key_reused(&id));
        }
        match holder {
            Holder::Job(job) => Ok(Some(*job)),
            Holder::Gone(_) => Err(Problem::job_gone(&id)),
        }
    }

    async fn end_window_that_is_over(&self, job: &Job) -> Result<(), Problem> {
        let Some(object_id) = job.object_id.as_deref() else { return Ok(()) };
        let Some(holder) = self.jobs.holder(Claim::Window, object_id).await? else { return Ok(()) };
        let left_ms = self.left_ms(&holder, self.rerun_window);
        if left_ms > 0 {
            let seconds = u64::try_from(left_ms).unwrap_or(1).div_ceil(1000);
            return Err(Problem::duplicate_object(&job_id(holder.id()).to_string(), seconds));
        }
        Ok(self.jobs.end_hold(Claim::Window, holder.id(), object_id).await?)
    }

    /// How much of `kept` since the job's creation is left, in milliseconds.
    fn left_ms(&self, holder: &Holder, kept: Duration) -> i64 {
        let age_ms = self.jobs.mongo().clock().now_ms() - holder.created_at().timestamp_millis();
        service_kit::clock::millis(kept) - age_ms
    }
}
