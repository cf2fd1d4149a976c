//! Cancelling, retrying and deleting jobs.

use std::{sync::Arc, time::Duration};

use bson::doc;
use service_kit::failpoints::failpoint;
use shared_events::{JobId, Status};
use tokio::time::Instant;
use tracing::debug;

use super::{
    Ends, Job, Jobs, LifecycleError, NextAction, Outbox, Waiters,
    change::{JobChange, is_open_to_changes},
    filter::Filtered,
    store::Load,
    waiters::Ended,
};
use crate::{http::read::CommaSeparated, metrics};

/// How long a cancel waits for the job's end before it answers 202.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// How many jobs one call acts on at the most.
const MOST_AT_ONCE: usize = 1000;

/// How often a change may find the job changed by another one.
const ROUNDS: usize = 10;

/// Changes what becomes of jobs.
#[derive(Clone)]
pub struct Lifecycle {
    jobs: Jobs,
    outbox: Arc<dyn Outbox>,
    ends: Arc<dyn Ends>,
    waiters: Waiters,
    announce_after: Duration,
}

/// What a call that acts on many jobs did.
#[derive(Debug)]
pub(super) struct Acted {
    /// On how many jobs it acted.
    pub(super) count: u64,
    /// How many it left alone, since this version can not read them.
    pub(super) unreadable: usize,
    /// Where the next call goes on; none where there are no more.
    pub(super) next: Option<bson::Uuid>,
}

impl Lifecycle {
    /// Prepares it.
    #[must_use]
    pub fn new(
        jobs: Jobs,
        outbox: Arc<dyn Outbox>,
        ends: Arc<dyn Ends>,
        waiters: Waiters,
        announce_after: Duration,
    ) -> Self {
        Self { jobs, outbox, ends, waiters, announce_after }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn get(&self, id: JobId) -> Result<Job, LifecycleError> {
        self.jobs.get(id).await?.ok_or(LifecycleError::NotFound(id))
    }

    /// Reads a job, without what makes it large; none where there is none.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn find_brief(&self, id: JobId) -> Result<Option<Job>, LifecycleError> {
        Ok(self.jobs.get_brief(id).await?)
    }

    /// Waits until a job's latest run has ended, for `wait` at most.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn wait_until_ended(&self, id: JobId, wait: Duration) -> Result<(), LifecycleError> {
        // Interest is registered before reading, or an end between the two would be missed.
        let ended = self.waiters.ended(id);
        let job = self.brief(id).await?;
        if job.status.is_terminal() {
            return Ok(());
        }
        debug!(target: "http", { job.id = %id, wait_s = wait.as_secs() }, "waits for the job's end");
        self.wait_for_end(job.run, ended, id, wait).await
    }

    /// Has a job cancelled, and waits a second for its end.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn cancel(&self, id: JobId, reason: Option<&str>) -> Result<(), LifecycleError> {
        let ended = self.waiters.ended(id);
        let run = self.request_cancel(id, reason).await?;
        self.wait_for_end(run, ended, id, CANCEL_WAIT).await
    }

    /// Has a job cancelled, and does not wait for its end; says which run.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn request_cancel(&self, id: JobId, reason: Option<&str>) -> Result<u32, LifecycleError> {
        let job = self.brief(id).await?;
        if job.status.is_terminal() {
            return Err(LifecycleError::AlreadyEnded(job.status));
        }
        let (run, announce_by) = (job.run, self.jobs.after(self.announce_after));
        failpoint("api.cancel.read");
        if job.status == Status::Scheduled
            && self.end_scheduled(std::slice::from_ref(&job), reason).await? == 1
        {
            return Ok(run);
        }
        if self.jobs.request_cancel(std::slice::from_ref(&job), reason, announce_by).await? == 1 {
            failpoint("api.cancel.stored");
            // It may have been read while it was scheduled.
            let (next_action, epoch) = (Some(NextAction::Cancel), job.epoch.max(1));
            let job = Job { next_action, epoch, expiry_asked_at: None, ..job };
            self.outbox.announce_soon(Arc::new(job)).await;
        }
        Ok(run)
    }

    /// Starts the next run of a job that has ended.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn retry(&self, id: JobId) -> Result<Arc<Job>, LifecycleError> {
        let job = self.get(id).await?;
        if !job.status.is_terminal() {
            return Err(LifecycleError::NotEnded(job.status));
        }
        if self.outbox.is_full(&job.queue) {
            return Err(LifecycleError::OutboxFull);
        }
        let (now, announce_by) = (self.jobs.mongo().clock().now(), self.jobs.after(self.announce_after));
        if self.jobs.start_next_run(std::slice::from_ref(&job), now, announce_by).await? == 0 {
            // Somebody else was faster: either it runs again, or it is gone.
            return Err(LifecycleError::NotEnded(self.get(id).await?.status));
        }
        let next = Arc::new(job.next_run(now, announce_by));
        failpoint("api.retry.stored");
        self.outbox.announce_soon(Arc::clone(&next)).await;
        Ok(next)
    }

    /// Changes a job whose time has not come, if that `holds` of its state.
    ///
    /// # Errors
    /// [`LifecycleError::NotScheduled`] where its time was faster; [`LifecycleError`].
    pub(super) async fn change(
        &self,
        id: JobId,
        change: &JobChange,
        holds: impl Fn(&Job) -> bool,
    ) -> Result<Arc<Job>, LifecycleError> {
        for _ in 0..ROUNDS {
            let job = self.get(id).await?;
            if !is_open_to_changes(&job) {
                return Err(LifecycleError::NotScheduled(job.status));
            }
            if !holds(&job) {
                return Err(LifecycleError::ConditionFailed);
            }
            let next = change.applied_to(&job, self.jobs.mongo().clock().now());
            let next = next.map_err(LifecycleError::WrongChange)?;
            failpoint("api.change.read");
            // Where another change or its promotion was faster, it is looked at again.
            if self.jobs.change_scheduled(&job, &next).await? {
                failpoint("api.change.stored");
                let next = Arc::new(next);
                self.outbox.announce_soon(Arc::clone(&next)).await;
                return Ok(next);
            }
        }
        Err(LifecycleError::Contended)
    }

    /// Removes a job that has ended.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub async fn delete(&self, id: JobId) -> Result<(), LifecycleError> {
        let job = self.brief(id).await?;
        if !job.status.is_terminal() {
            return Err(LifecycleError::NotEnded(job.status));
        }
        if self.jobs.delete(&job).await? {
            return Ok(());
        }
        Err(LifecycleError::NotEnded(self.brief(id).await?.status))
    }

    /// Has up to a thousand jobs cancelled that pass the filter and have neither ended nor been asked to.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub(super) async fn cancel_many(
        &self,
        jobs: Filtered,
        reason: Option<&str>,
    ) -> Result<Acted, LifecycleError> {
        let open = Status::OPEN.map(Status::as_str);
        let wanted =
            doc! { "cancel": { "$exists": false }, "$or": [{ "status": { "$in": open.as_slice() } }] };
        let page = self.jobs.page(&jobs.page(MOST_AT_ONCE), wanted, Load::BRIEF).await?;
        let scheduled: Vec<Job> =
            page.jobs.iter().filter(|job| job.status == Status::Scheduled).cloned().collect();
        let ended = self.end_scheduled(&scheduled, reason).await?;
        // Among them those whose time came first.
        let asked = self.jobs.request_cancel(&page.jobs, reason, self.jobs.mongo().clock().now()).await?;
        self.outbox.wake();
        Ok(Acted { count: ended + asked, unreadable: page.unreadable, next: page.next })
    }

    /// Ends those of these jobs whose time has still not come; says how many. No worker knows them, so the ledger need not.
    async fn end_scheduled(&self, jobs: &[Job], reason: Option<&str>) -> Result<u64, LifecycleError> {
        let ended = self.jobs.cancel_scheduled(jobs, reason).await?;
        ended.iter().for_each(|job| metrics::cancelled_early(&job.kind, &job.queue));
        failpoint("api.cancel.ended");
        self.ends.tell(&ended).await;
        Ok(ended.len() as u64)
    }

    /// Starts the next run of up to a thousand ended jobs, of a few MiB at most, that pass the filter; without a status in
    /// it, of those that failed or were cancelled.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub(super) async fn retry_many(&self, jobs: Filtered) -> Result<Acted, LifecycleError> {
        let statuses: Vec<Status> = match &jobs.filter.status {
            None => vec![Status::Failed, Status::Cancelled],
            Some(CommaSeparated(named)) => {
                named.iter().copied().filter(|status| status.is_terminal()).collect()
            }
        };
        let statuses: Vec<&str> = statuses.into_iter().map(Status::as_str).collect();
        let ended = doc! { "$or": [{ "status": { "$in": statuses } }] };
        let mut page = self.jobs.page(&jobs.page(MOST_AT_ONCE), ended, Load::WHOLE).await?;
        let found = page.jobs.len();
        page.jobs.retain(|job| !self.outbox.is_full(&job.queue));
        if found > 0 && page.jobs.is_empty() {
            return Err(LifecycleError::OutboxFull);
        }
        let now = self.jobs.mongo().clock().now();
        let count = self.jobs.start_next_run(&page.jobs, now, now).await?;
        self.outbox.wake();
        Ok(Acted { count, unreadable: page.unreadable, next: page.next })
    }

    async fn brief(&self, id: JobId) -> Result<Job, LifecycleError> {
        self.jobs.get_brief(id).await?.ok_or(LifecycleError::NotFound(id))
    }

    /// Waits until the job's latest run has ended, for `wait` at most; `run` is the latest as far as is known.
    async fn wait_for_end(
        &self,
        mut run: u32,
        mut ended: Ended,
        id: JobId,
        wait: Duration,
    ) -> Result<(), LifecycleError> {
        let deadline = Instant::now() + wait;
        while tokio::time::timeout_at(deadline, ended.of_run(run)).await.is_ok() {
            let job = self.brief(id).await?;
            // A next run may have been started since the end of this one.
            if job.status.is_terminal() || job.run <= run {
                break;
            }
            run = job.run;
        }
        Ok(())
    }
}
