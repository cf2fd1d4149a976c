//! Creating the jobs of firings that are decided.

use std::collections::HashMap;

use bson::Uuid;
use futures::future::join_all;
use service_kit::{
    StoreError,
    failpoints::failpoint,
    telemetry::{
        chain,
        traces::{self, KeyValue},
    },
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{LOOK_AGAIN, Scheduler, TO_CARRY_OUT};
use crate::{
    jobs::{CreateError, FiringJob, JobOfFiring, LifecycleError, OfSchedule, job_id},
    schedules::{Firing, FiringReason, FiringStatus, Origin, Overlap, Schedule},
    traces::FIRE,
};

/// Why a job is cancelled that the next one replaces.
const REPLACED: &str = "its schedule fired again";

/// What has become of a firing.
enum Outcome {
    /// Its job is there.
    Fired,
    /// It has none, and gets none.
    None(FiringStatus, FiringReason),
    /// Not known, or not possible yet.
    Later,
}

impl Scheduler {
    /// Creates the jobs of firings that are decided and were read at `begun`, and marks them. What can not be done is left to
    /// the scan.
    pub(in super::super) async fn carry_out(&self, mut firings: Vec<Firing>, begun: Instant) {
        while !firings.is_empty() {
            match self.carry_out_some(firings, begun).await {
                Ok(left) => firings = left,
                Err(error) => {
                    warn!(error = chain(&error), "firings are left to the scan");
                    return;
                }
            }
        }
    }

    /// Carries out those whose schedules fit into memory together; returns the others.
    async fn carry_out_some(&self, firings: Vec<Firing>, begun: Instant) -> Result<Vec<Firing>, StoreError> {
        let uids: Vec<Uuid> = firings.iter().map(|firing| firing.uid).collect();
        let schedules = self.store.some_by_uid(&uids).await?;
        if schedules.is_empty() {
            // Deleted long ago, or not readable here.
            return self.withdraw(&firings).await.map(|()| Vec::new());
        }
        let schedules: HashMap<Uuid, &Schedule> =
            schedules.iter().map(|schedule| (schedule.stored.uid, schedule)).collect();
        let (now, left): (Vec<_>, Vec<_>) =
            firings.into_iter().partition(|firing| schedules.contains_key(&firing.uid));
        let outcomes =
            join_all(now.iter().map(|firing| self.create(firing, schedules[&firing.uid], begun))).await;
        failpoint("api.schedules.created");
        let (mut fired, mut later): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for (firing, outcome) in now.iter().zip(outcomes) {
            match outcome {
                Outcome::Fired => fired.push(&firing.id),
                Outcome::Later => later.push(&firing.id),
                Outcome::None(status, reason) => self.without_job(firing, status, reason).await?,
            }
        }
        self.store.have_fired(&fired).await?;
        self.store.look_later(&later, self.store.mongo().clock().after(LOOK_AGAIN)).await?;
        Ok(left)
    }

    async fn create(&self, firing: &Firing, schedule: &Schedule, begun: Instant) -> Outcome {
        let (Some(id), Some(template)) = (firing.job, schedule.template()) else { return Outcome::Later };
        if schedule.rule.overlap == Overlap::CancelPrevious && firing.origin != Origin::Trigger {
            self.cancel_previous(firing).await;
        }
        // Who stood still in between may be far behind what others know by now.
        if begun.elapsed() > TO_CARRY_OUT {
            return Outcome::Later;
        }
        let of = OfSchedule { id: firing.schedule.to_string(), uid: firing.uid, due_at: firing.due_at };
        let (trace, fired) = (traces::enter(None), traces::begin());
        let job = JobOfFiring { id, new_job: template.new_job().clone(), of, trace };
        let created = self.creator.create_for_firing(job).await;
        if let Some(fired) = fired.filter(|_| trace.is_sampled()) {
            let attributes = [
                KeyValue::new("schedule.id", firing.schedule.to_string()),
                KeyValue::new("job.id", job_id(id).to_string()),
                KeyValue::new("job.kind", template.new_job().kind.to_string()),
            ];
            let why = created.as_ref().err().map(|error| chain(error));
            FIRE.span(trace, None, fired).with(attributes).failed(why).record();
        }
        match created {
            Ok(FiringJob::Created) => {
                debug!(schedule.id = %firing.schedule, job.id = %job_id(id), "schedule fired");
                Outcome::Fired
            }
            Ok(FiringJob::Before) => Outcome::Fired,
            Ok(FiringJob::GivenUp) => Outcome::None(FiringStatus::Missed, FiringReason::QueueFull),
            Err(CreateError::DuplicateObject { .. }) => {
                Outcome::None(FiringStatus::Skipped, FiringReason::DuplicateObject)
            }
            Err(CreateError::OutboxFull) if firing.give_up_at.is_some_and(|at| at < self.store.now()) => {
                Outcome::None(FiringStatus::Missed, FiringReason::QueueFull)
            }
            Err(CreateError::OutboxFull) => Outcome::Later,
            Err(error) => {
                warn!(schedule.id = %firing.schedule, error = chain(&error), "a firing's job could not be created; trying again");
                Outcome::Later
            }
        }
    }

    /// Has the jobs cancelled of firings that were due before, as far as they have not ended.
    async fn cancel_previous(&self, firing: &Firing) {
        let previous = async {
            let recent = self.store.recent(firing.uid, &firing.id, Some(firing.due_at), None).await?;
            self.jobs.not_ended(&recent.jobs).await
        };
        for job in previous.await.unwrap_or_default() {
            match self.lifecycle.request_cancel(job_id(job), Some(REPLACED)).await {
                Ok(_) | Err(LifecycleError::AlreadyEnded(_) | LifecycleError::NotFound(_)) => {}
                Err(error) => {
                    warn!(job.id = %job_id(job), error = chain(&error), "an earlier job could not be cancelled");
                }
            }
        }
    }

    /// Notes that a firing has no job, after nobody can create it any more; or that it has one, where somebody was faster.
    async fn without_job(
        &self,
        firing: &Firing,
        status: FiringStatus,
        reason: FiringReason,
    ) -> Result<(), StoreError> {
        let given_up = match firing.job {
            Some(id) => self.jobs.give_up(id).await?,
            None => FiringJob::GivenUp,
        };
        if given_up == FiringJob::GivenUp {
            self.store.settle(firing, status, reason).await
        } else {
            self.store.have_fired(&[&firing.id]).await
        }
    }

    /// Takes back what was decided for schedules that are not there any more, or are not what they were.
    pub(super) async fn withdraw(&self, firings: &[Firing]) -> Result<(), StoreError> {
        for firing in firings {
            warn!(schedule.id = %firing.schedule, firing.id, "a firing is taken back: its schedule was changed");
            self.without_job(firing, FiringStatus::Skipped, FiringReason::ScheduleChanged).await?;
        }
        Ok(())
    }
}
