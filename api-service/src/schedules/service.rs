//! Creating, changing and deleting schedules, and having them fire on request.
//!
//! Nothing is locked: a change is written only over the state that it was made of.

use std::time::Duration;

use bson::Uuid;
use shared_events::Timestamp;

use super::{
    Change, Definition, Firing, Schedule, ScheduleError, ScheduleId,
    firing::{FiringStatus, Origin, manual_id},
    plan,
    scheduler::Scheduler,
    store::{ScheduleStore, Written},
    view::Backfilled,
};
use crate::{
    http::{Problem, read::Mistakes},
    idempotency::IdempotencyKey,
    jobs::{date, timestamp},
};

/// How often requests for one schedule may make each other try again.
const ROUNDS: u32 = 20;

/// How much longer each round waits than the one before.
const PAUSE: Duration = Duration::from_millis(3);

/// The most due times of one backfill.
pub(super) const MOST_AT_ONCE: usize = 1000;

/// Creates, changes and deletes schedules, and has them fire.
#[derive(Clone)]
pub struct Schedules {
    store: ScheduleStore,
    scheduler: Scheduler,
}

/// Why a schedule was not changed.
#[derive(Debug)]
pub(super) enum ChangeError {
    /// As for any other request.
    Schedule(ScheduleError),
    /// What it would become is no schedule.
    Mistakes(Mistakes),
}

impl<E: Into<ScheduleError>> From<E> for ChangeError {
    fn from(error: E) -> Self {
        Self::Schedule(error.into())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Schedule(error) => error.into(),
            ChangeError::Mistakes(mistakes) => mistakes.into(),
        }
    }
}

impl Schedules {
    /// Those of this store, which this scheduler has fire.
    #[must_use]
    pub const fn new(store: ScheduleStore, scheduler: Scheduler) -> Self {
        Self { store, scheduler }
    }

    /// Their store.
    pub(super) const fn store(&self) -> &ScheduleStore {
        &self.store
    }

    /// The schedule with this id.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`].
    pub async fn get(&self, id: &ScheduleId) -> Result<Schedule, ScheduleError> {
        self.store.get(id).await?.ok_or_else(|| ScheduleError::NotFound(id.clone()))
    }

    /// Stores a new schedule, journaled by a majority; under an id of its own where none is given.
    ///
    /// # Errors
    /// [`ScheduleError::ConditionFailed`] where another one has the id.
    pub async fn create(
        &self,
        id: Option<ScheduleId>,
        definition: Definition,
    ) -> Result<Schedule, ScheduleError> {
        let now = self.store.now();
        let id = id.unwrap_or_else(|| ScheduleId::new(now));
        let schedule = Schedule::new(id, crate::jobs::new_id(now), definition, now);
        match self.store.insert(&schedule).await? {
            Written::Done => {
                self.scheduler.wake();
                Ok(schedule)
            }
            Written::Taken | Written::Stale => Err(ScheduleError::ConditionFailed),
        }
    }

    /// Replaces what is said of the schedule, if that `holds` of its state.
    pub(super) async fn replace(
        &self,
        id: &ScheduleId,
        definition: &Definition,
        holds: impl Fn(&Schedule) -> bool,
    ) -> Result<Schedule, ChangeError> {
        self.change_to(id, |_| Ok(definition.clone()), holds).await
    }

    /// Changes some of what is said of the schedule, if that `holds` of its state.
    pub(super) async fn change(
        &self,
        id: &ScheduleId,
        change: &Change,
        holds: impl Fn(&Schedule) -> bool,
    ) -> Result<Schedule, ChangeError> {
        let changed = |schedule: &Schedule| {
            let unreadable = || service_kit::StoreError::Unreadable(format!("the template of {id}"));
            let definition = schedule.definition().ok_or_else(unreadable)?;
            definition.changed(change).map_err(ChangeError::Mistakes)
        };
        self.change_to(id, changed, holds).await
    }

    async fn change_to(
        &self,
        id: &ScheduleId,
        wanted: impl Fn(&Schedule) -> Result<Definition, ChangeError>,
        holds: impl Fn(&Schedule) -> bool,
    ) -> Result<Schedule, ChangeError> {
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE * round).await;
            let schedule = self.get(id).await?;
            if !holds(&schedule) {
                return Err(ScheduleError::ConditionFailed.into());
            }
            let wanted = wanted(&schedule)?;
            let Some(next) = schedule.changed(&wanted, self.store.now()) else { return Ok(schedule) };
            if self.store.replace(&schedule, &next).await? == Written::Done {
                self.scheduler.wake();
                return Ok(next);
            }
        }
        Err(ScheduleError::Contended.into())
    }

    /// Deletes the schedule, if that `holds` of its state. What it has decided comes to its end.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`]; [`ScheduleError::ConditionFailed`].
    pub async fn delete(
        &self,
        id: &ScheduleId,
        holds: impl Fn(&Schedule) -> bool,
    ) -> Result<(), ScheduleError> {
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE * round).await;
            let schedule = self.get(id).await?;
            if !holds(&schedule) {
                return Err(ScheduleError::ConditionFailed);
            }
            if self.store.delete(&schedule).await? == Written::Done {
                return Ok(());
            }
        }
        Err(ScheduleError::Contended)
    }

    /// Has the schedule fire now, whatever its limits say: an operator asks for it. The same key again finds what it has led
    /// to; says whether it did. Its job is there, unless there is no room for it yet.
    pub(super) async fn trigger(
        &self,
        id: &ScheduleId,
        key: Option<IdempotencyKey>,
        request_id: String,
    ) -> Result<(Firing, bool), ScheduleError> {
        let schedule = self.get(id).await?;
        let now = self.store.now();
        let key = key.map_or_else(|| Uuid::new().to_uuid_1().to_string(), IdempotencyKey::into_text);
        let decision = self.scheduler.decision(Origin::Trigger, FiringStatus::Decided, None, now);
        let firing = Firing {
            id: manual_id(schedule.stored.uid, &key),
            request_id: Some(request_id),
            ..Firing::of(&schedule, now, decision)
        };
        let is_new = self.store.insert_firings(std::slice::from_ref(&firing)).await? == [true];
        if is_new {
            self.scheduler.carry_out(vec![firing.clone()], tokio::time::Instant::now()).await;
        }
        let unknown = || service_kit::StoreError::Unknown;
        Ok((self.store.firing(&firing.id).await?.ok_or_else(unknown)?, !is_new))
    }

    /// Has the schedule fire for the due times of a span that have not fired, within its limits.
    pub(super) async fn backfill(
        &self,
        id: &ScheduleId,
        (from, to): (Timestamp, Timestamp),
        request_id: &str,
    ) -> Result<Backfilled, ScheduleError> {
        let schedule = self.get(id).await?;
        let now = self.store.now();
        if date(from) < self.scheduler.remembered_from(now) {
            return Err(ScheduleError::TooOld);
        }
        let due = due_times(&schedule, from, to.min(timestamp(now)))?;
        let mut backfilled = Backfilled::default();
        let firing_for = async |due_at: Timestamp| {
            let decided = self.scheduler.decide_for(&schedule, date(due_at), Origin::Backfill, now).await?;
            Ok::<_, ScheduleError>(Firing { request_id: Some(request_id.to_owned()), ..decided })
        };
        if plan::is_limited(&schedule) {
            // Each depends on those before.
            for due_at in due {
                let firing = firing_for(due_at).await?;
                backfilled.add(self.record(&firing).await?);
            }
        } else {
            let mut firings = Vec::with_capacity(due.len());
            for due_at in due {
                firings.push(firing_for(due_at).await?);
            }
            let inserted = self.store.insert_firings(&firings).await?;
            for (firing, is_new) in firings.iter().zip(inserted) {
                let recorded = if is_new { Some(firing.status) } else { self.record(firing).await? };
                backfilled.add(recorded);
            }
        }
        self.scheduler.wake();
        Ok(backfilled)
    }

    /// Stores the record, or turns one into it that has no job; says how it stands, or none where it had fired already.
    async fn record(&self, firing: &Firing) -> Result<Option<FiringStatus>, ScheduleError> {
        for _ in 0..ROUNDS {
            if self.store.insert_firings(std::slice::from_ref(firing)).await? == [true] {
                return Ok(Some(firing.status));
            }
            let there = self.store.firing(&firing.id).await?;
            let Some(there) = there else { continue };
            if !matches!(there.status, FiringStatus::Missed | FiringStatus::Skipped) {
                return Ok(None);
            }
            if firing.status != FiringStatus::Decided {
                return Ok(Some(there.status));
            }
            if self.store.decide_after_all(&there, firing).await? {
                return Ok(Some(FiringStatus::Decided));
            }
        }
        Err(ScheduleError::Contended)
    }
}

/// The due times from `from` on and before `to`.
fn due_times(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>, ScheduleError> {
    let (mut due, mut last) = (Vec::new(), Timestamp::from_millis(from.millis().saturating_sub(1)));
    while let Some(next) = plan::next_after(schedule, last).filter(|next| next.at < to) {
        if due.len() == MOST_AT_ONCE {
            return Err(ScheduleError::TooMany);
        }
        due.push(next.at);
        last = next.at;
    }
    Ok(due)
}

impl Backfilled {
    /// Counts a due time: how it stands, or none where it had fired already.
    fn add(&mut self, recorded: Option<FiringStatus>) {
        match recorded {
            Some(FiringStatus::Decided | FiringStatus::Waiting) => self.firing += 1,
            Some(_) => self.skipped += 1,
            None => self.before += 1,
        }
    }
}
