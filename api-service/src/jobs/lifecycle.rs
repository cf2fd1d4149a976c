//! Cancelling, retrying and deleting jobs.

use std::{sync::Arc, time::Duration};

use bson::doc;
use service_kit::faults::gap;
use shared_events::{JobId, Status};
use tokio::time::Instant;
use tracing::debug;

use super::{
    Duty, Job, Jobs,
    filter::PageRequest,
    store::{Load, OPEN},
};
use crate::{
    problem::Problem,
    relay::Relay,
    waiters::{Ended, Waiters},
};

/// How long a cancel waits for the job's end before it answers 202.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// How many jobs one call acts on at the most.
pub(super) const MOST_AT_ONCE: usize = 1000;

/// Changes what becomes of jobs.
#[derive(Clone)]
pub struct Lifecycle {
    jobs: Jobs,
    relay: Relay,
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
    pub const fn new(jobs: Jobs, relay: Relay, waiters: Waiters, announce_after: Duration) -> Self {
        Self { jobs, relay, waiters, announce_after }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// 404; 503.
    pub async fn get(&self, id: JobId) -> Result<Job, Problem> {
        self.jobs.get(id).await?.ok_or_else(|| Problem::no_job(&id.to_string()))
    }

    /// Reads a job when it has ended, or as it is after `wait`.
    ///
    /// # Errors
    /// 404; 503.
    pub async fn get_ended(&self, id: JobId, wait: Duration) -> Result<Job, Problem> {
        // Interest is registered before reading, or an end between the two would be missed.
        let ended = self.waiters.ended(id);
        let job = self.get(id).await?;
        if job.status.is_terminal() {
            return Ok(job);
        }
        let run = job.run;
        // It is read again, and may be large.
        drop(job);
        debug!(target: "http", { job.id = %id, wait_s = wait.as_secs() }, "waits for the job's end");
        self.wait_for_end(run, ended, id, wait).await
    }

    /// Has a job cancelled; the job as it is within a second of that.
    ///
    /// # Errors
    /// 404; 409 where it had ended before; 503.
    pub async fn cancel(&self, id: JobId, reason: Option<&str>) -> Result<Job, Problem> {
        let ended = self.waiters.ended(id);
        let job = self.get(id).await?;
        if job.status.is_terminal() {
            return Err(Problem::already_ended(job.status));
        }
        let (run, announce_by) = (job.run, self.jobs.after(self.announce_after));
        if self.jobs.request_cancel(std::slice::from_ref(&job), reason, announce_by).await? == 1 {
            gap("api.cancel.stored");
            self.relay.announce_soon(Arc::new(Job { duty: Some(Duty::Cancel), ..job })).await;
        }
        self.wait_for_end(run, ended, id, CANCEL_WAIT).await
    }

    /// Starts the next run of a job that has ended.
    ///
    /// # Errors
    /// 404; 409 where it has not ended; 503.
    pub async fn retry(&self, id: JobId) -> Result<Arc<Job>, Problem> {
        let job = self.get(id).await?;
        if !job.status.is_terminal() {
            return Err(Problem::not_ended(job.status));
        }
        if self.relay.is_full(&job.queue) {
            return Err(Problem::outbox_full());
        }
        let announce_by = self.jobs.after(self.announce_after);
        if self.jobs.start_next_run(std::slice::from_ref(&job), announce_by).await? == 0 {
            // Somebody else was faster: either it runs again, or it is gone.
            return Err(Problem::not_ended(self.get(id).await?.status));
        }
        let next = Arc::new(job.next_run(announce_by));
        gap("api.retry.stored");
        self.relay.announce_soon(Arc::clone(&next)).await;
        Ok(next)
    }

    /// Removes a job that has ended.
    ///
    /// # Errors
    /// 404; 409 where it has not ended; 503.
    pub async fn delete(&self, id: JobId) -> Result<(), Problem> {
        let job = self.get(id).await?;
        if !job.status.is_terminal() {
            return Err(Problem::not_ended(job.status));
        }
        if self.jobs.delete(&job).await? {
            return Ok(());
        }
        Err(Problem::not_ended(self.get(id).await?.status))
    }

    /// Has up to a thousand jobs cancelled that pass the filter and have neither ended nor been asked to.
    ///
    /// # Errors
    /// 503.
    pub(super) async fn cancel_many(
        &self,
        mut request: PageRequest,
        reason: Option<&str>,
    ) -> Result<Acted, Problem> {
        request.size = MOST_AT_ONCE;
        let wanted =
            doc! { "cancel": { "$exists": false }, "$or": [{ "status": { "$in": OPEN.as_slice() } }] };
        let page = self.jobs.page(&request, wanted, Load::BRIEF).await?;
        let count = self.jobs.request_cancel(&page.jobs, reason, self.jobs.mongo().clock().now()).await?;
        self.relay.wake();
        Ok(Acted { count, unreadable: page.unreadable, next: page.next })
    }

    /// Starts the next run of up to a thousand ended jobs, of a few MiB at most, that pass the filter; without a status in
    /// it, of those that failed or were cancelled.
    ///
    /// # Errors
    /// 503.
    pub(super) async fn retry_many(&self, mut request: PageRequest) -> Result<Acted, Problem> {
        request.size = MOST_AT_ONCE;
        let named = &request.filter.status;
        let statuses: Vec<Status> = if named.is_empty() {
            vec![Status::Failed, Status::Cancelled]
        } else {
            named.iter().copied().filter(|status| status.is_terminal()).collect()
        };
        let statuses: Vec<&str> = statuses.into_iter().map(Status::as_str).collect();
        let ended = doc! { "$or": [{ "status": { "$in": statuses } }] };
        let mut page = self.jobs.page(&request, ended, Load::WHOLE).await?;
        let found = page.jobs.len();
        page.jobs.retain(|job| !self.relay.is_full(&job.queue));
        if found > 0 && page.jobs.is_empty() {
            return Err(Problem::outbox_full());
        }
        let count = self.jobs.start_next_run(&page.jobs, self.jobs.mongo().clock().now()).await?;
        self.relay.wake();
        Ok(Acted { count, unreadable: page.unreadable, next: page.next })
    }

    /// The job when its latest run has ended, or as it is after `wait`; `run` is the latest as far as is known.
    async fn wait_for_end(
        &self,
        mut run: u32,
        mut ended: Ended,
        id: JobId,
        wait: Duration,
    ) -> Result<Job, Problem> {
        let deadline = Instant::now() + wait;
        loop {
            // The broadcast may be lost, so the job is read again in any case.
            let in_time = tokio::time::timeout_at(deadline, ended.of_run(run)).await.is_ok();
            let job = self.get(id).await?;
            // A next run may have been started since the end of this one was told.
            if !in_time || job.status.is_terminal() || job.run <= run {
                return Ok(job);
            }
            run = job.run;
        }
    }
}
