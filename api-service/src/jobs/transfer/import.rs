//! Taking jobs in.

use std::{sync::Arc, time::Duration};

use service_kit::telemetry::{chain, traces};
use shared_events::JobId;

use super::{
    super::{CreateError, Jobs, NextAction, Outbox, store::Inserted},
    JobLine,
};
use crate::{
    http::read::Both,
    traces::{IMPORT, of_job},
};

/// Takes jobs in that were exported.
#[derive(Clone)]
pub struct Importer {
    jobs: Jobs,
    outbox: Arc<dyn Outbox>,
    announce_after: Duration,
}

/// What became of an exported job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is there now.
    New(JobId),
    /// It was there, or was deleted since: nothing was changed.
    There(JobId),
}

impl Importer {
    /// Prepares it.
    #[must_use]
    pub fn new(jobs: Jobs, outbox: Arc<dyn Outbox>, announce_after: Duration) -> Self {
        Self { jobs, outbox, announce_after }
    }

    /// Stores the job under its own id, unless something is there, and has it announced where it had not ended.
    ///
    /// # Errors
    /// [`CreateError::OutboxFull`]; where the database does not do it.
    pub async fn import(&self, Both(new_job, past): JobLine) -> Result<Imported, CreateError> {
        let (clock, id) = (self.jobs.mongo().clock(), past.id());
        let (now, mark) = (clock.now(), self.outbox.mark_for(&new_job.queue));
        if past.is_waiting(&new_job, now) && self.outbox.is_full(&new_job.queue) {
            return Err(CreateError::OutboxFull);
        }
        let delay = if mark == NextAction::Announce { self.announce_after } else { Duration::ZERO };
        let begun = traces::begin();
        let job = Arc::new(past.into_job(new_job, mark, now, clock.after(delay)));
        let inserted = self.jobs.insert(Arc::clone(&job)).await;
        if let Some((begun, trace)) = begun.zip(job.trace.filter(|trace| trace.is_sampled())) {
            let why = inserted.as_ref().err().map(|error| chain(error));
            IMPORT.span(trace, None, begun).with(of_job(&job)).failed(why).record();
        }
        // Without keys, only its id can be taken.
        if inserted? == Inserted::Taken {
            return Ok(Imported::There(id));
        }
        if job.next_action.is_some() {
            self.outbox.announce_soon(job).await;
        }
        Ok(Imported::New(id))
    }
}
