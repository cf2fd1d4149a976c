//! Jobs that a schedule creates: under an id that was chosen, and recorded, before.

use std::{sync::Arc, time::Duration};

use bson::{DateTime, Uuid};
use serde::{Deserialize, Serialize};
use service_kit::failpoints::failpoint;
use shared_events::TraceContext;
use tracing::debug;

use super::{CreateError, Creator, Job, NewJob, NextAction, model::job_id, store::Inserted};

/// How often the dedup key of an object may change hands meanwhile.
const ROUNDS: usize = 10;

/// Which firing of which schedule a job is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfSchedule {
    /// What the schedule is called.
    pub id: String,
    /// The schedule's own id: another one of the same name has another.
    pub uid: Uuid,
    /// When the firing was due, or was asked for by hand.
    pub due_at: DateTime,
}

/// A job that a firing asks for.
#[derive(Debug, Clone)]
pub struct JobOfFiring {
    /// The id that was recorded for it.
    pub id: Uuid,
    /// What is to be done.
    pub new_job: NewJob,
    /// Of which firing.
    pub of: OfSchedule,
    /// The trace of what asked for it.
    pub trace: TraceContext,
}

/// What became of a firing's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FiringJob {
    /// It was created now.
    Created,
    /// It was there already, or is gone.
    Before,
    /// Its id was given up: there is no such job, and never will be.
    GivenUp,
}

impl Creator {
    /// Stores the job under its id, journaled, and has it announced; where one was stored under this id before, nothing
    /// changes.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn create_for_firing(&self, job: JobOfFiring) -> Result<FiringJob, CreateError> {
        let creator = self.clone();
        self.to_the_end(async move { creator.store_for_firing(job).await }).await?
    }

    async fn store_for_firing(&self, job: JobOfFiring) -> Result<FiringJob, CreateError> {
        let JobOfFiring { id, new_job, of, trace } = job;
        if self.outbox.is_full(&new_job.queue) {
            return Err(CreateError::OutboxFull);
        }
        let (clock, mark) = (self.jobs.mongo().clock(), self.outbox.mark_for(&new_job.queue));
        let delay = if mark == NextAction::Announce { self.announce_after } else { Duration::ZERO };
        // As old as its id: lists go by either.
        let created_at = super::model::date(super::created_at(id));
        let job = new_job.into_job(mark, None, created_at, clock.after(delay), trace);
        let job = Arc::new(Job { id, schedule: Some(of), ..job });
        for _ in 0..ROUNDS {
            match self.jobs.insert(Arc::clone(&job)).await? {
                Inserted::Stored => {
                    debug!(target: "job", { job.id = %job_id(id), job.kind = %job.kind, trace_id = trace.trace_id() }, "job created by a schedule");
                    failpoint("api.create.stored");
                    self.outbox.announce_soon(Arc::clone(&job)).await;
                    return Ok(FiringJob::Created);
                }
                Inserted::Taken => {
                    if let Some(there) = self.jobs.under_id_of_firing(id).await? {
                        return Ok(there);
                    }
                    self.free_dedup_key_that_is_over(&job).await?;
                }
            }
        }
        Err(CreateError::Contended)
    }
}
