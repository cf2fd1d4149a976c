//! Schedules of the older scheduler's clients: each is due once, and its job runs a program in a container. They are schedules
//! as any other, but for what their clients are shown, and that a deleted one is marked and kept.

use serde::{Deserialize, Serialize};

use super::{Definition, Schedule, ScheduleError, ScheduleId, Schedules, firing::due_id, store::Written};
use crate::jobs::date;

/// How often requests for one schedule may make each other try again.
const ROUNDS: usize = 20;

/// What an older client has said, as it is shown again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Older {
    /// The container's image.
    pub image: String,
    /// When: year, month, day, hour and minute, in UTC.
    pub cron: Vec<i32>,
    /// What runs in it, in JSON: a text for a shell, or a list of arguments; none for what the image says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Who the client has said it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

impl Schedules {
    /// Stores a new one.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn create_older(
        &self,
        definition: Definition,
        older: Older,
    ) -> Result<Schedule, ScheduleError> {
        let now = self.store().now();
        let id = ScheduleId::new(now);
        let mut schedule = Schedule::new(id, crate::jobs::new_id(now), definition, now);
        schedule.stored.older = Some(older);
        match self.store().insert(&schedule).await? {
            Written::Done => Ok(schedule),
            Written::Taken | Written::Stale => Err(ScheduleError::Contended),
        }
    }

    /// The one with this id, deleted or not.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`].
    pub async fn older(&self, id: &ScheduleId) -> Result<Schedule, ScheduleError> {
        self.store().older(id).await?.ok_or_else(|| ScheduleError::NotFound(id.clone()))
    }

    /// The newest ones, deleted or not.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn newest_older(&self, most: i64) -> Result<Vec<Schedule>, ScheduleError> {
        Ok(self.store().newest_older(most).await?)
    }

    /// Changes one that is not deleted into what `next` makes of what was said of it.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`]; what `next` says.
    pub async fn change_older<E: From<ScheduleError>>(
        &self,
        id: &ScheduleId,
        next: impl Fn(&Older) -> Result<(Definition, Older), E>,
    ) -> Result<Schedule, E> {
        for _ in 0..ROUNDS {
            let schedule = self.older(id).await?;
            let not_found = || ScheduleError::NotFound(id.clone());
            let older = schedule.stored.older.as_ref().filter(|_| schedule.stored.deleted_at.is_none());
            let (definition, older) = next(older.ok_or_else(not_found)?)?;
            let Some(mut next) = schedule.changed(&definition, self.store().now()) else {
                return Ok(schedule);
            };
            next.stored.older = Some(older);
            if self.store().replace(&schedule, &next).await.map_err(ScheduleError::from)? == Written::Done {
                return Ok(next);
            }
        }
        Err(ScheduleError::Contended.into())
    }

    /// Marks one as deleted, and keeps it; what it has not fired for by now it does not fire for.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`].
    pub async fn delete_older(&self, id: &ScheduleId) -> Result<Schedule, ScheduleError> {
        for _ in 0..ROUNDS {
            let schedule = self.older(id).await?;
            if schedule.stored.deleted_at.is_some() {
                return Ok(schedule);
            }
            self.store().delete_and_keep(&schedule).await?;
        }
        Err(ScheduleError::Contended)
    }

    /// The job that it has created for its time; none where it has not.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn job_of_older(&self, schedule: &Schedule) -> Result<Option<bson::Uuid>, ScheduleError> {
        let Some(at) = schedule.rule.at else { return Ok(None) };
        let firing = self.store().firing(&due_id(schedule.stored.uid, date(at))).await?;
        Ok(firing.and_then(|firing| firing.job))
    }
}
