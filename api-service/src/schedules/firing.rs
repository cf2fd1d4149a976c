//! A firing: the record of what was decided for one due time, or for one request.
//!
//! There is one record for each (schedule's own uid, due time) and one for each (uid, request): its id says so. Whoever
//! decides inserts it first. It outlives its job, and its job's id never changes once it is there; so nothing fires
//! twice, whoever was paused, deleted or asked for again meanwhile.

use bson::{DateTime, Uuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Schedule, ScheduleId};

/// What made a schedule fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Its due time.
    Clock,
    /// Its due time, made up for.
    CatchUp,
    /// A request for a span of time.
    Backfill,
    /// A request, for now.
    Trigger,
}

/// What has become of a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FiringStatus {
    /// It fires: its job is about to be there.
    Decided,
    /// It waits until an earlier job has ended.
    Waiting,
    /// Its job is there, or was.
    Fired,
    /// It has no job.
    Skipped,
    /// It has no job, since nobody was there in time, or no room.
    Missed,
}

impl FiringStatus {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Waiting => "waiting",
            Self::Fired => "fired",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }
}

impl std::str::FromStr for FiringStatus {
    type Err = BadFiringStatus;

    fn from_str(text: &str) -> Result<Self, BadFiringStatus> {
        let all = [Self::Decided, Self::Waiting, Self::Fired, Self::Skipped, Self::Missed];
        all.into_iter().find(|status| status.as_str() == text).ok_or(BadFiringStatus)
    }
}

impl crate::http::read::StringValue for FiringStatus {}

/// The text is no status of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be decided, waiting, fired, skipped or missed")]
pub struct BadFiringStatus;

/// Why a due time has no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FiringReason {
    /// An earlier job had not ended.
    Overlap,
    /// The schedule had fired as often as it may.
    MaxFirings,
    /// Another job has the template's `object_id`.
    DuplicateObject,
    /// Nobody was there within `catch_up_s`.
    Late,
    /// There was no room for another job of the queue within `catch_up_s`.
    QueueFull,
    /// The schedule was changed or deleted before it was known that this had been decided.
    ScheduleChanged,
}

/// A firing's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// Of the due time, or of the request by hand.
    #[serde(rename = "_id")]
    pub id: String,
    /// The schedule's own id.
    pub uid: Uuid,
    /// What the schedule is called.
    pub schedule: ScheduleId,
    /// When it was due; of a trigger, when it was asked for.
    pub due_at: DateTime,
    /// What made it fire.
    pub origin: Origin,
    /// How it stands.
    pub status: FiringStatus,
    /// Why it has no job, or none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<FiringReason>,
    /// The id of its job, once it is decided that it gets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Uuid>,
    /// When that was decided, last.
    pub decided_at: DateTime,
    /// When its job was known to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<DateTime>,
    /// Of one that was missed: so were all due times since then that have no record of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_since: Option<DateTime>,
    /// The request that asked for it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When somebody must look at it, since it is not at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_at: Option<DateTime>,
    /// Whether it was looked at since it was decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
    /// Until when it is waited for room for its job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_at: Option<DateTime>,
    /// Whether it was decided elsewhere, or before, and taken in from an export; its job may not have come along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// When the record goes.
    pub until: DateTime,
}

/// The id of the record for a due time: by the clock, made up for, or by a backfill.
#[must_use]
pub(super) fn due_id(uid: Uuid, due_at: DateTime) -> String {
    format!("{}.{}", uid.to_uuid_1().simple(), due_at.timestamp_millis())
}

/// The id of the record for a request.
#[must_use]
pub(super) fn manual_id(uid: Uuid, request: &str) -> String {
    format!("{}.manual:{request}", uid.to_uuid_1().simple())
}

/// What was decided, at which time, and for how long that is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// What made it fire.
    pub origin: Origin,
    /// How it stands.
    pub status: FiringStatus,
    /// Why, where it has no job.
    pub reason: Option<FiringReason>,
    /// When.
    pub now: DateTime,
    /// When somebody must look at it, unless it is at its end.
    pub look_at: DateTime,
    /// When the record goes.
    pub until: DateTime,
}

impl Firing {
    /// The record for a due time of the schedule; with a fresh job id where it fires.
    #[must_use]
    pub fn of(schedule: &Schedule, due_at: DateTime, decision: Decision) -> Self {
        let Decision { origin, status, reason, now, look_at, until } = decision;
        let is_open = matches!(status, FiringStatus::Decided | FiringStatus::Waiting);
        let catch_up_ms = i64::from(schedule.rule.catch_up_s.get()) * 1000;
        let give_up_at = DateTime::from_millis(now.timestamp_millis() + catch_up_ms);
        Self {
            id: due_id(schedule.stored.uid, due_at),
            uid: schedule.stored.uid,
            schedule: schedule.stored.id.clone(),
            due_at,
            origin,
            status,
            reason,
            job: (status == FiringStatus::Decided).then(|| crate::jobs::new_id(now)),
            decided_at: now,
            fired_at: None,
            missed_since: None,
            request_id: None,
            look_at: is_open.then_some(look_at),
            seen: false,
            give_up_at: is_open.then_some(give_up_at),
            imported: false,
            until,
        }
    }
}
