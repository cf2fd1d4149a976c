//! Creating a job: one insert.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use service_kit::failpoints::failpoint;
use shared_events::TraceContext;
use tokio::runtime::Handle;
use tracing::{debug, error};

use super::{
    CreateError, Job, Jobs, NewJob, NextAction, Outbox,
    admission::Admission,
    model::job_id,
    store::{Holder, Inserted, UniqueKey},
};
use crate::{
    idempotency::{IdempotencyKey, KEY_KEPT, may_be_the_same},
    metrics,
};

/// How often one request and another for the same object may make each other try again.
const ROUNDS: usize = 10;

/// Creates jobs.
#[derive(Clone)]
pub struct Creator {
    pub(super) jobs: Jobs,
    pub(super) outbox: Arc<dyn Outbox>,
    rerun_window: Duration,
    pub(super) announce_after: Duration,
    admission: Admission,
    runtime: Handle,
}

/// What a request to create a job led to.
#[derive(Debug)]
pub enum Created {
    /// A new job.
    New(Arc<Job>),
    /// The job that was created by the same request before; of a batch's, without payload and result.
    Before(Arc<Job>),
}

/// One job of several that are created together.
#[derive(Debug)]
pub struct Member {
    /// The job.
    pub new_job: NewJob,
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
    pub fn new(
        jobs: Jobs,
        outbox: Arc<dyn Outbox>,
        rerun_window: Duration,
        announce_after: Duration,
    ) -> Self {
        Self {
            jobs,
            outbox,
            rerun_window,
            announce_after,
            admission: Admission::default(),
            runtime: Handle::current(),
        }
    }

    /// Stores the job, journaled, and has it announced.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn create(
        &self,
        new_job: NewJob,
        key: Option<IdempotencyKey>,
        trace: TraceContext,
    ) -> Result<Created, CreateError> {
        let place = self.admission.enter(1).await.ok_or(CreateError::Overloaded)?;
        let creator = self.clone();
        let member = Member { new_job, key };
        self.to_the_end(async move {
            let _place = place;
            creator.store(member, trace, false).await
        })
        .await?
    }

    /// The same for many, all at once, so that they share the commit; each has its own answer, in order. Of
    /// several with one key, the first is stored, and the others are answered after it.
    ///
    /// # Errors
    /// [`CreateError::Overloaded`]: none of them is there. [`CreateError::BrokeOff`]: nothing is known of any of them.
    pub async fn create_all<E: From<CreateError> + Send + 'static>(
        &self,
        members: Vec<Result<Member, E>>,
        trace: TraceContext,
    ) -> Result<Vec<Result<Created, E>>, CreateError> {
        let place = self.admission.enter(members.len()).await.ok_or(CreateError::Overloaded)?;
        let creator = self.clone();
        self.to_the_end(async move {
            let (creator, _place) = (&creator, place);
            let creating = by_key(members).into_iter().map(|alike| creator.store_in_turn(alike, trace));
            let mut created: Vec<_> = join_all(creating).await.into_iter().flatten().collect();
            created.sort_by_key(|(index, _)| *index);
            created.into_iter().map(|(_, created)| created).collect()
        })
        .await
    }

    /// Stores jobs one after the other, each with its place. Where the database or the broker has no room or
    /// no answer for one, it is not asked about the rest.
    async fn store_in_turn<E: From<CreateError>>(
        &self,
        members: Vec<(usize, Result<Member, E>)>,
        trace: TraceContext,
    ) -> Vec<(usize, Result<Created, E>)> {
        let (mut created, mut failed) = (Vec::with_capacity(members.len()), None);
        for (index, member) in members {
            let done = match (member, &failed) {
                (Err(error), _) => Err(error),
                (Ok(_), Some(error)) => Err(CreateError::clone(error).into()),
                (Ok(member), None) => self.store(member, trace, true).await.map_err(|error| {
                    failed = error.is_of_the_service().then(|| error.clone());
                    error.into()
                }),
            };
            created.push((index, done));
        }
        created
    }

    /// In a task of its own: a client that goes away ends its request's future, and a job that was
    /// stored by then would be left to the scan. On the runtime of the database's and the broker's
    /// connections, where no step has to wake another thread.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        creating: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, CreateError> {
        self.runtime.spawn(creating).await.map_err(|panic| {
            error!(%panic, "creating a job broke off");
            CreateError::BrokeOff
        })
    }

    /// Stores a job; one that was created before is read briefly where `brief`.
    async fn store(&self, member: Member, trace: TraceContext, brief: bool) -> Result<Created, CreateError> {
        let Member { new_job, key } = member;
        let clock = self.jobs.mongo().clock();
        let is_delayed = new_job.scheduled_for(clock.now()).is_some();
        if !is_delayed && self.outbox.is_full(&new_job.queue) {
            return Err(CreateError::OutboxFull);
        }
        let mark = self.outbox.mark_for(&new_job.queue);
        let delay = if mark == NextAction::Announce { self.announce_after } else { Duration::ZERO };
        let job = Arc::new(new_job.into_job(mark, key, clock.now(), clock.after(delay), trace));
        // Each round either stores the job, finds a live key, or has freed one whose time is over.
        for _ in 0..ROUNDS {
            failpoint("api.create.read");
            match self.jobs.insert(Arc::clone(&job)).await? {
                Inserted::Stored => {
                    debug!(target: "job", { job.id = %job.job_id(), job.kind = %job.kind, trace_id = trace.trace_id() }, "job created");
                    metrics::created(&job.kind, &job.queue);
                    failpoint("api.create.stored");
                    self.outbox.announce_soon(Arc::clone(&job)).await;
                    return Ok(Created::New(job));
                }
                Inserted::Taken => {
                    // The idempotency key comes first: a request that is sent again must not be refused by the
                    // dedup key that it has taken itself.
                    if let Some(before) = self.created_before(&job, brief).await? {
                        return Ok(Created::Before(Arc::new(before)));
                    }
                    self.free_dedup_key_that_is_over(&job).await?;
                }
            }
        }
        Err(CreateError::Contended)
    }

    async fn created_before(&self, job: &Job, brief: bool) -> Result<Option<Job>, CreateError> {
        let Some(key) = job.idempotency_key.as_deref() else { return Ok(None) };
        let holder = self.jobs.holder(UniqueKey::Idempotency, key, brief).await?;
        let Some(holder) = holder else { return Ok(None) };
        if self.left(&holder, KEY_KEPT).is_zero() {
            self.jobs.free_key(UniqueKey::Idempotency, holder.id(), key).await?;
            return Ok(None);
        }
        let id = job_id(holder.id());
        let (stored, hash) = (holder.idempotency_hash(), job.idempotency_hash.as_deref());
        if !may_be_the_same(stored.unwrap_or_default(), hash.unwrap_or_default()) {
            return Err(CreateError::KeyReused(id));
        }
        match holder {
            Holder::Job(job) => Ok(Some(*job)),
            Holder::Gone(_) => Err(CreateError::Gone(id)),
        }
    }

    pub(super) async fn free_dedup_key_that_is_over(&self, job: &Job) -> Result<(), CreateError> {
        let Some(object_id) = job.object_id.as_deref() else { return Ok(()) };
        let holder = self.jobs.holder(UniqueKey::Dedup, object_id, true).await?;
        let Some(holder) = holder else { return Ok(()) };
        let left = self.left(&holder, self.rerun_window);
        if !left.is_zero() {
            return Err(CreateError::DuplicateObject { holder: job_id(holder.id()), left });
        }
        Ok(self.jobs.free_key(UniqueKey::Dedup, holder.id(), object_id).await?)
    }

    /// How much of `kept` since the job's creation is left.
    fn left(&self, holder: &Holder, kept: Duration) -> Duration {
        let age_ms = self.jobs.mongo().clock().now_ms() - holder.created_at().timestamp_millis();
        let left_ms = service_kit::clock::millis(kept) - age_ms;
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }
}
