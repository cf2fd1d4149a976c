//! Bringing to its end what somebody has left undone: by dying, by standing still, or since something else has to end first.

use std::{collections::HashMap, time::Duration};

use bson::{DateTime, Uuid};
use service_kit::{StoreError, clock::millis};
use tokio::time::Instant;

use super::{LOOK_AGAIN, Scheduler};
use crate::schedules::{Firing, FiringReason, FiringStatus, Schedule, plan};

/// How many records are looked at together.
const BATCH: i64 = 200;

/// A record that is seen for the first time so long after it was decided: whoever decided it may have stood still before it
/// was stored.
const STALE_AFTER: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Looks at the first records that are not at their end; whether there may be more.
    pub(super) async fn take_up(&self, now: DateTime) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let firings = self.store.firings_to_look_at(now, BATCH).await?;
        let many = i64::try_from(firings.len()).unwrap_or(i64::MAX) == BATCH;
        let (waiting, decided): (Vec<_>, Vec<_>) =
            firings.into_iter().partition(|firing| firing.status == FiringStatus::Waiting);
        let mut ready = self.still_in_force(decided, now).await?;
        for firing in waiting {
            ready.extend(self.turn_of(firing, now).await?);
        }
        // In the order in which they were due.
        ready.sort_by_key(|firing| firing.due_at);
        self.carry_out(ready, begun).await;
        Ok(many)
    }

    /// Those that may be carried out. One that may have been stored long after it was decided, for a schedule that is not
    /// the same any more, is taken back.
    async fn still_in_force(&self, decided: Vec<Firing>, now: DateTime) -> Result<Vec<Firing>, StoreError> {
        let is_stale = |firing: &Firing| {
            !firing.seen
                && now.timestamp_millis() - firing.decided_at.timestamp_millis() > millis(STALE_AFTER)
        };
        let (stale, mut ready): (Vec<_>, Vec<_>) = decided.into_iter().partition(is_stale);
        if stale.is_empty() {
            return Ok(ready);
        }
        let uids: Vec<Uuid> = stale.iter().map(|firing| firing.uid).collect();
        let schedules = self.store.some_by_uid(&uids).await?;
        let schedules: HashMap<Uuid, &Schedule> =
            schedules.iter().map(|schedule| (schedule.stored.uid, schedule)).collect();
        let mut gone = Vec::new();
        for firing in stale {
            let schedule = schedules.get(&firing.uid).copied();
            let is_asked_for = firing.request_id.is_some() && schedule.is_some();
            if is_asked_for || plan::is_in_force(schedule, firing.due_at) {
                ready.push(firing);
            } else {
                gone.push(firing);
            }
        }
        self.withdraw(&gone).await?;
        Ok(ready)
    }

    /// One that waits, decided if its turn has come.
    async fn turn_of(&self, firing: Firing, now: DateTime) -> Result<Option<Firing>, StoreError> {
        let schedules = self.store.some_by_uid(&[firing.uid]).await?;
        let schedule = schedules.first().filter(|schedule| schedule.stored.deleted_at.is_none());
        let Some(schedule) = schedule else {
            self.store.settle(&firing, FiringStatus::Skipped, FiringReason::ScheduleChanged).await?;
            return Ok(None);
        };
        let recent = self.store.recent(firing.uid, &firing.id, None, None).await?;
        if recent.earlier.is_open || !self.jobs.not_ended(&recent.jobs).await?.is_empty() {
            let again = DateTime::from_millis(now.timestamp_millis() + millis(LOOK_AGAIN));
            self.store.look_later(&[&firing.id], again).await?;
            return Ok(None);
        }
        let decision = self.decision(firing.origin, FiringStatus::Decided, None, now);
        let fresh = Firing::of(schedule, firing.due_at, decision);
        let decided = Firing { request_id: firing.request_id.clone(), ..fresh };
        let is_mine = self.store.decide_after_all(&firing, &decided).await?;
        Ok(is_mine.then_some(decided))
    }
}
