//! Deciding what is due.

use bson::DateTime;
use futures::future::try_join_all;
use service_kit::{StoreError, failpoints::failpoint};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Scheduler;
use crate::{
    jobs::{date, timestamp},
    schedules::{
        Firing, FiringReason, FiringStatus, Origin, Schedule,
        plan::{self, Plan},
        store::Advance,
    },
};

/// How many schedules are looked at together.
const BATCH: i64 = 250;

/// Where there are so many that a look does not see all, it starts behind up to so many batches, so that replicas do not
/// all look at the same.
const APART: u64 = 4;

/// How many schedules' limits are asked for at once.
const AT_ONCE: usize = 16;

/// A firing later than this after its due time was made up for.
const LATE_MS: i64 = 5_000;

impl Scheduler {
    /// Decides what the first schedules have to decide at `now`, and carries it out; whether there may be more.
    pub(super) async fn decide_due(&self, now: DateTime) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let mut schedules = self.store.due(now, BATCH, 0).await?;
        let many = i64::try_from(schedules.len()).unwrap_or(i64::MAX) == BATCH;
        if many {
            let apart = u64::from(rand_below(APART)) * BATCH.unsigned_abs();
            if apart > 0 {
                let others = self.store.due(now, BATCH, apart).await?;
                schedules = if others.is_empty() { schedules } else { others };
            }
        }
        if schedules.is_empty() {
            return Ok(false);
        }
        let mut decided: Vec<(Vec<Firing>, Advance<'_>)> = Vec::with_capacity(schedules.len());
        for some in schedules.chunks(AT_ONCE) {
            let deciding = some.iter().map(|schedule| self.decide_one(schedule, now));
            decided.extend(try_join_all(deciding).await?);
        }
        let (firings, advances): (Vec<_>, Vec<_>) = decided.into_iter().unzip();
        let firings: Vec<Firing> = firings.into_iter().flatten().collect();
        let goes_on = advances.iter().any(|advance| advance.next_fire_at.is_some_and(|next| next <= now));
        let inserted = self.store.insert_firings(&firings).await?;
        failpoint("api.schedules.recorded");
        self.store.advance(advances).await?;
        failpoint("api.schedules.advanced");
        let mine = firings
            .into_iter()
            .zip(inserted)
            .filter(|(firing, is_new)| *is_new && firing.status == FiringStatus::Decided);
        self.carry_out(mine.map(|(firing, _)| firing).collect(), begun).await;
        Ok(many || goes_on)
    }

    /// The records of what a schedule has to decide, and up to where all is decided then.
    async fn decide_one<'a>(
        &self,
        schedule: &'a Schedule,
        now: DateTime,
    ) -> Result<(Vec<Firing>, Advance<'a>), StoreError> {
        let Plan { missed, missed_since, due, cursor } = plan::plan(schedule, timestamp(now));
        let mut firings = Vec::with_capacity(missed.len() + due.len());
        if let (Some(first), Some(last)) = (missed.first(), missed.last()) {
            warn!(schedule.id = %schedule.stored.id, %first, %last, "due times were missed: nobody was there within catch_up_s");
        }
        for due_at in missed {
            let decision = self.decision(Origin::Clock, FiringStatus::Missed, Some(FiringReason::Late), now);
            firings.push(Firing::of(schedule, date(due_at), decision));
        }
        if let Some(first) = firings.first_mut() {
            first.missed_since = missed_since.map(date);
        }
        for due in due {
            let is_late = now.timestamp_millis() - due.fire_at.millis() > LATE_MS;
            let origin = if is_late { Origin::CatchUp } else { Origin::Clock };
            firings.push(self.decide_for(schedule, date(due.at), origin, now).await?);
        }
        let cursor = cursor.unwrap_or_else(|| schedule.cursor());
        let next = plan::next_after(schedule, cursor).filter(|_| !schedule.stored.paused);
        debug!(schedule.id = %schedule.stored.id, firings = firings.len(), %cursor, "schedule decided");
        let next_fire_at = next.map(|next| date(next.fire_at));
        Ok((firings, Advance { schedule, cursor: date(cursor), next_fire_at }))
    }
}

/// A number below `end`, which differs from replica to replica and from time to time.
fn rand_below(end: u64) -> u32 {
    let bytes = bson::Uuid::new().bytes();
    u32::try_from(u64::from(bytes[0]) % end).unwrap_or(0)
}
