//! Schedules and firings as HTTP answers show them.

use serde::Serialize;
use serde_json::value::RawValue;
use shared_events::{JobId, Timestamp};
use utoipa::ToSchema;

use super::{Firing, FiringReason, FiringStatus, Origin, Rule, Schedule, ScheduleId};
use crate::{
    http::etag::Tag,
    jobs::{NewJob, job_id, timestamp},
};

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(super) struct ScheduleView<'a> {
    /// What it is called.
    id: &'a ScheduleId,
    /// Its own id: another schedule of the same name has another.
    #[schema(format = "uuid")]
    uid: String,
    /// The job that it creates, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = NewJob, required = true)]
    template: Option<&'a RawValue>,
    /// When.
    #[serde(flatten)]
    rule: &'a Rule,
    /// When it was created.
    created_at: Timestamp,
    /// When a client changed it last.
    updated_at: Timestamp,
}

impl<'a> From<&'a Schedule> for ScheduleView<'a> {
    fn from(schedule: &'a Schedule) -> Self {
        let stored = &schedule.stored;
        Self {
            id: &stored.id,
            uid: stored.uid.to_uuid_1().to_string(),
            template: stored.template.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            rule: &schedule.rule,
            created_at: timestamp(stored.created_at),
            updated_at: timestamp(stored.updated_at),
        }
    }
}

/// The tag of the schedule's state.
pub(super) fn tag(schedule: &Schedule) -> Tag {
    Tag::of(&ScheduleView::from(schedule))
}

/// A page of schedules.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written piece by piece")]
pub(super) struct ScheduleList<'a> {
    /// The schedules, by descending id: newest first, but for ids that clients have chosen.
    schedules: Vec<ScheduleView<'a>>,
    /// How many are left out, since only a newer version can read them.
    unreadable: Option<u32>,
    /// What the next page is asked for with; empty where there is none.
    next_page_token: String,
}

/// What was decided for a due time, or for a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Firing)]
pub(super) struct FiringView {
    /// When it was due, on the schedule's times; of a trigger, when it was asked for.
    due_at: Timestamp,
    /// What made it fire.
    origin: Origin,
    /// How it stands.
    status: FiringStatus,
    /// Why it has no job, or none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FiringReason>,
    /// Its job, which may be gone since.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
    /// When that was decided.
    decided_at: Timestamp,
    /// When its job was known to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    fired_at: Option<Timestamp>,
    /// Of one that was missed: so were all due times since then that are not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_since: Option<Timestamp>,
    /// The `X-Request-Id` of the request that asked for it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl From<Firing> for FiringView {
    fn from(firing: Firing) -> Self {
        Self {
            due_at: timestamp(firing.due_at),
            origin: firing.origin,
            status: firing.status,
            reason: firing.reason,
            job_id: firing.job.map(job_id),
            decided_at: timestamp(firing.decided_at),
            fired_at: firing.fired_at.map(timestamp),
            missed_since: firing.missed_since.map(timestamp),
            request_id: firing.request_id,
        }
    }
}

/// A page of firings.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written piece by piece")]
pub(super) struct FiringList {
    /// The firings, the latest due first.
    firings: Vec<FiringView>,
    /// How many are left out, since only a newer version can read them.
    unreadable: Option<u32>,
    /// What the next page is asked for with; empty where there is none.
    next_page_token: String,
}

/// Times to come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NextTimes {
    /// When it is due next. What holds a firing back (`paused`, `max_firings`, `overlap`) and `jitter_s` are not looked at.
    pub(super) times: Vec<Timestamp>,
}

/// What a rule means.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Preview {
    /// In English.
    #[schema(example = "At 02:30, on Monday (Europe/Berlin)")]
    pub(super) meaning: String,
    /// Of a cron expression: whether it names fixed times of day, each of which comes once a day whatever the clocks do; else
    /// it follows real time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fixed_times: Option<bool>,
    /// When it is due next.
    pub(super) times: Vec<Timestamp>,
}

/// What a backfill has led to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Backfilled {
    /// How many due times fire now, or wait until an earlier job has ended.
    pub(super) firing: usize,
    /// How many had fired before, or are about to.
    pub(super) before: usize,
    /// How many are skipped, as the schedule's limits have it.
    pub(super) skipped: usize,
}
