//! Taking schedules and firings in.

use service_kit::StoreError;

use super::{FiringLine, ScheduleLine};
use crate::{
    http::read::Both,
    schedules::{Firing, ScheduleError, Scheduler, store::Written},
};

/// Takes schedules and firings in that were exported.
#[derive(Clone)]
pub(crate) struct ScheduleImporter {
    scheduler: Scheduler,
}

impl ScheduleImporter {
    /// Prepares it.
    #[must_use]
    pub(crate) const fn new(scheduler: Scheduler) -> Self {
        Self { scheduler }
    }

    /// Stores the schedule under its own id, unless it is there; says whether it did.
    ///
    /// # Errors
    /// [`ScheduleError::Taken`] where another one has its name; where the database does not do it.
    pub(crate) async fn import(&self, line: ScheduleLine) -> Result<bool, ScheduleError> {
        let (Both(definition, past), store) = (line, &self.scheduler.store);
        let schedule = past.into_schedule(definition, store.now());
        if store.insert(&schedule).await? == Written::Done {
            self.scheduler.wake();
            return Ok(true);
        }
        // Deleted or not, and whatever has become of it.
        if store.is_known(schedule.stored.uid).await? {
            return Ok(false);
        }
        Err(ScheduleError::Taken(schedule.stored.id))
    }

    /// Stores the records of firings that are not there; says of each whether it did.
    ///
    /// # Errors
    /// Where the database does not do it.
    pub(crate) async fn import_firings(&self, lines: Vec<FiringLine>) -> Result<Vec<bool>, StoreError> {
        let (store, now) = (&self.scheduler.store, self.scheduler.store.now());
        let kept_ms = i64::try_from(self.scheduler.kept.as_millis()).unwrap_or(i64::MAX);
        let firings: Vec<Firing> = lines.into_iter().map(|line| line.into_firing(now, kept_ms)).collect();
        let stored = store.insert_firings(&firings).await?;
        if firings.iter().any(|firing| firing.look_at.is_some()) {
            self.scheduler.wake();
        }
        Ok(stored)
    }
}
