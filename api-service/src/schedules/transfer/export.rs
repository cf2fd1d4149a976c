//! A schedule, and a firing, as a line.

use serde::Serialize;
use shared_events::{JobId, Timestamp};

use super::super::{
    Firing, FiringReason, FiringStatus, Older, Origin, Schedule, ScheduleId, view::ScheduleView,
};
use crate::jobs::{job_id, timestamp};

/// A schedule with all that an import needs: as it is shown, and how far it is.
#[derive(Debug, Serialize)]
struct ExportedSchedule<'a> {
    #[serde(flatten)]
    schedule: ScheduleView<'a>,
    /// Since when its times are what they are.
    since: Timestamp,
    /// All that is due up to here is decided.
    decided_until: Timestamp,
    /// What an older client has said of it, where one has made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    older: Option<&'a Older>,
    /// When an older client deleted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

/// The record of a firing.
#[derive(Debug, Serialize)]
struct ExportedFiring<'a> {
    id: &'a str,
    uid: String,
    schedule: &'a ScheduleId,
    due_at: Timestamp,
    origin: Origin,
    status: FiringStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FiringReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
    decided_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    fired_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    give_up_at: Option<Timestamp>,
}

/// The schedule as a value of one line.
#[must_use]
pub(crate) fn schedule_line(schedule: &Schedule) -> impl Serialize + use<'_> {
    ExportedSchedule {
        schedule: ScheduleView::from(schedule),
        since: schedule.since(),
        decided_until: schedule.cursor(),
        older: schedule.stored.older.as_ref(),
        deleted_at: schedule.stored.deleted_at.map(timestamp),
    }
}

/// The firing as a value of one line.
#[must_use]
pub(crate) fn firing_line(firing: &Firing) -> impl Serialize + use<'_> {
    ExportedFiring {
        id: &firing.id,
        uid: firing.uid.to_uuid_1().to_string(),
        schedule: &firing.schedule,
        due_at: timestamp(firing.due_at),
        origin: firing.origin,
        status: firing.status,
        reason: firing.reason,
        job_id: firing.job.map(job_id),
        decided_at: timestamp(firing.decided_at),
        fired_at: firing.fired_at.map(timestamp),
        missed_since: firing.missed_since.map(timestamp),
        request_id: firing.request_id.as_deref(),
        give_up_at: firing.give_up_at.map(timestamp),
    }
}
