//! Jobs: what a client asked for, and how far it has come.

mod admission;
mod announced;
mod batch;
mod bulk;
mod change;
mod create;
mod errors;
mod filter;
mod idempotency;
mod lifecycle;
mod model;
mod new_job;
mod next_action;
mod next_run;
mod of_schedule;
mod own_retention;
mod problems;
mod remains;
mod requests;
mod retention;
mod routes;
mod store;
mod timing;
mod transfer;
mod view;
mod waiters;

pub use announced::{Announced, Generations};
pub use change::WrongField;
pub use create::{Created, Creator};
pub use errors::{CreateError, LifecycleError};
pub use lifecycle::Lifecycle;
pub use model::Job;
pub(crate) use model::{created_at, date, job_id, position, stored_id, timestamp};
pub(crate) use new_job::new_id;
pub use new_job::{KeepS, NewJob, ObjectId};
pub use next_action::NextAction;
pub use of_schedule::{FiringJob, JobOfFiring, OfSchedule};
pub use own_retention::OwnRetention;
pub(crate) use problems::JOB_NOT_FOUND;
pub use problems::PROBLEM_TYPES;
pub(crate) use remains::may_be_gone;
pub(crate) use requests::JobPath;
pub use retention::Retention;
pub use routes::configure;
pub use store::{EARLIER_RUNS, ExportPage, JOBS, Jobs, OPEN_JOBS_INDEX, Stub};
pub use transfer::{Imported, Importer, JobLine, line_of};
pub use waiters::Waiters;

use std::sync::Arc;

use async_trait::async_trait;
use shared_events::Queue;

/// Who is told of jobs that have ended without any event.
#[async_trait]
pub trait Ends: Send + Sync {
    /// These jobs have ended.
    async fn tell(&self, ended: &[Job]);
}

/// What creating jobs and changing what becomes of them needs of the outbox.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Whether too many announcements wait for one more job of this queue to be taken.
    fn is_full(&self, queue: &Queue) -> bool;

    /// The outbox mark of a new run in this queue.
    fn mark_for(&self, queue: &Queue) -> NextAction;

    /// Publishes what the job's mark asks for in the background, as soon as not too many are under way; of a job whose time
    /// is to come, remembers that.
    async fn announce_soon(&self, job: Arc<Job>);

    /// Has the marks looked at soon.
    fn wake(&self);
}
