//! Has schedules fire. Every replica does, and none needs the others.
//!
//! A due time is first decided: a record is stored, and a unique id lets one replica alone do so. Then all that is due up to
//! there is noted as decided. Then the job is created, under the id that the record holds; whoever does that again changes
//! nothing. Then the record is marked. What a replica leaves undone that dies, or stands still, in between, is taken up by
//! the scan for records that are not at their end.

mod carry_out;
mod due;
mod take_up;

use std::{sync::Arc, time::Duration};

use bson::DateTime;
use service_kit::{clock::millis, telemetry::chain};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Firing, FiringReason, FiringStatus, Origin, Schedule,
    firing::{Decision, due_id},
    plan,
    store::ScheduleStore,
};
use crate::jobs::{Creator, Jobs, Lifecycle};

/// The longest pause between two looks: another replica may have been told of a schedule.
const EVERY: Duration = Duration::from_secs(1);

/// The pause after a look that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// How long who decides has to carry it out; after that it is left to the scan, which looks at it anew.
const TO_CARRY_OUT: Duration = Duration::from_secs(10);

/// How soon a record is looked at again that could not be brought to its end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Has schedules fire.
#[derive(Clone)]
pub struct Scheduler {
    /// Schedules and firings.
    pub store: ScheduleStore,
    /// Creates their jobs.
    pub creator: Creator,
    /// Cancels their jobs.
    pub lifecycle: Lifecycle,
    /// Says which of them have ended.
    pub jobs: Jobs,
    /// How long a firing is remembered.
    pub kept: Duration,
    /// Wakes the loop.
    pub wake: Arc<Notify>,
}

impl Scheduler {
    /// Has the schedules looked at soon.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// From when on firings are remembered.
    pub(super) fn remembered_from(&self, now: DateTime) -> DateTime {
        DateTime::from_millis(now.timestamp_millis().saturating_sub(millis(self.kept)))
    }

    /// Has schedules fire until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        self.store.prepare_soon(stop).await;
        // Before the database's clock is known nothing may be taken for overdue.
        if stop.run_until_cancelled(self.store.mongo().clock().learnt()).await.is_none() {
            return;
        }
        while !stop.is_cancelled() {
            let pause = self.look().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks once; says how long there is nothing to do.
    async fn look(&self) -> Duration {
        let now = self.store.now();
        let (due, undone) = (self.decide_due(now).await, self.take_up(now).await);
        let mut is_busy = false;
        for done in [due, undone] {
            match done {
                Ok(more) => is_busy |= more,
                Err(error) => {
                    warn!(error = chain(&error), "schedules could not be looked at; trying again");
                    return AFTER_FAILURE;
                }
            }
        }
        if is_busy {
            return Duration::ZERO;
        }
        let Ok(Some(next)) = self.store.next_fire_at().await else { return EVERY };
        let left_ms = next.timestamp_millis() - self.store.now().timestamp_millis();
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).clamp(Duration::from_millis(2), EVERY)
    }

    /// Decides all that is due at `now`, and brings to its end what was left undone then; for tests that have a clock of
    /// their own.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn round(&self, now: DateTime) -> Result<(), service_kit::StoreError> {
        while self.decide_due(now).await? {}
        while self.take_up(now).await? {}
        Ok(())
    }

    /// What is decided now, by whom it is to be looked at, and how long that is remembered.
    pub(super) fn decision(
        &self,
        origin: Origin,
        status: FiringStatus,
        reason: Option<FiringReason>,
        now: DateTime,
    ) -> Decision {
        let after = |duration| DateTime::from_millis(now.timestamp_millis().saturating_add(millis(duration)));
        let look_at = match (origin, status) {
            // Whoever asks for these does not carry them out.
            (Origin::Backfill, _) => now,
            (_, FiringStatus::Waiting) => after(LOOK_AGAIN),
            _ => after(TO_CARRY_OUT),
        };
        Decision { origin, status, reason, now, look_at, until: after(self.kept) }
    }

    /// Decides for a due time, by the schedule's limits. Nothing is stored.
    pub(super) async fn decide_for(
        &self,
        schedule: &Schedule,
        due_at: DateTime,
        origin: Origin,
        now: DateTime,
    ) -> Result<Firing, service_kit::StoreError> {
        let (mut status, mut reason) = (FiringStatus::Decided, None);
        if plan::is_limited(schedule) {
            let uid = schedule.stored.uid;
            let count_up_to = schedule.rule.max_firings.map(crate::http::read::Number::get);
            let recent = self.store.recent(uid, &due_id(uid, due_at), None, count_up_to).await?;
            let mut earlier = recent.earlier;
            earlier.is_open = earlier.is_open || !self.jobs.not_ended(&recent.jobs).await?.is_empty();
            (status, reason) = plan::decide(schedule, earlier);
        }
        Ok(Firing::of(schedule, due_at, self.decision(origin, status, reason, now)))
    }
}
