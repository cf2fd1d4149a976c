//! What lines say of schedules and firings, and the documents that they become.

use bson::DateTime;
use shared_events::{JobId, Timestamp};

use super::super::{
    Definition, Firing, FiringReason, FiringStatus, Older, Origin, Schedule, ScheduleId, Uid,
    firing::{due_id, manual_id},
};
use crate::{
    http::read::{AsWritten, Both, Fields, Mistake, MistakeCode, ReadFields, Text},
    jobs::{date, stored_id},
};

/// A schedule of an export.
pub(crate) type ScheduleLine = Both<Definition, PastSchedule>;

/// What has become of a schedule so far.
#[derive(Debug, ReadFields)]
#[read(check = in_order(since, decided_until))]
pub(crate) struct PastSchedule {
    id: ScheduleId,
    uid: Uid,
    pub(in super::super) created_at: Timestamp,
    pub(in super::super) updated_at: Timestamp,
    pub(in super::super) since: Timestamp,
    pub(in super::super) decided_until: Timestamp,
    older: Option<AsWritten<Older>>,
    deleted_at: Option<Timestamp>,
}

fn in_order(since: &Timestamp, decided_until: &Timestamp, fields: &mut Fields<'_>) {
    if decided_until < since {
        fields.wrong("decided_until", Mistake::new(MistakeCode::Conflict, "must not be before since"));
    }
}

impl PastSchedule {
    /// The schedule's name.
    pub(crate) const fn id(&self) -> &ScheduleId {
        &self.id
    }

    /// The schedule, taken in at `now`: it goes on where it was.
    pub(super) fn into_schedule(self, definition: Definition, now: DateTime) -> Schedule {
        let mut schedule = Schedule::new(self.id.clone(), self.uid.0, definition, now).with_past(&self, now);
        schedule.stored.older = self.older.map(|AsWritten(older)| older);
        if let Some(deleted_at) = self.deleted_at {
            schedule.stored.deleted_at = Some(date(deleted_at));
            (schedule.stored.live_id, schedule.stored.next_fire_at) = (None, None);
        }
        schedule
    }
}

/// A firing of an export.
#[derive(Debug, ReadFields)]
#[read(check = names_itself(id, uid, due_at, origin), check = has_its_job(status, job_id))]
pub(crate) struct FiringLine {
    id: Text<1, 512>,
    uid: Uid,
    schedule: ScheduleId,
    due_at: Timestamp,
    origin: AsWritten<Origin>,
    status: FiringStatus,
    reason: Option<AsWritten<FiringReason>>,
    job_id: Option<JobId>,
    decided_at: Timestamp,
    fired_at: Option<Timestamp>,
    missed_since: Option<Timestamp>,
    request_id: Option<Text<1, 1024>>,
    give_up_at: Option<Timestamp>,
}

fn names_itself(
    id: &Text<1, 512>,
    uid: &Uid,
    due_at: &Timestamp,
    origin: &AsWritten<Origin>,
    fields: &mut Fields<'_>,
) {
    let is_right = match origin.0 {
        Origin::Trigger => id.starts_with(&manual_id(uid.0, "")),
        Origin::Clock | Origin::CatchUp | Origin::Backfill => **id == *due_id(uid.0, date(*due_at)),
    };
    if !is_right {
        let message = "must be that of its schedule and its due time, or request";
        fields.wrong("id", Mistake::new(MistakeCode::Conflict, message));
    }
}

fn has_its_job(status: &FiringStatus, job_id: &Option<JobId>, fields: &mut Fields<'_>) {
    let wants = matches!(status, FiringStatus::Decided | FiringStatus::Fired);
    if wants && job_id.is_none() {
        fields.wrong("job_id", Mistake::new(MistakeCode::Required, "is required of one that fires"));
    }
    if !wants && job_id.is_some() {
        fields.wrong("job_id", Mistake::new(MistakeCode::Conflict, "goes with one that fires only"));
    }
}

impl FiringLine {
    /// The record's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The record, taken in at `now`, and remembered for `kept_ms` from its decision on. One that is not at its end is looked
    /// at soon.
    pub(super) fn into_firing(self, now: DateTime, kept_ms: i64) -> Firing {
        let is_open = matches!(self.status, FiringStatus::Decided | FiringStatus::Waiting);
        let give_up_at = self.give_up_at.map_or(now, date);
        Firing {
            id: self.id.into_string(),
            uid: self.uid.0,
            schedule: self.schedule,
            due_at: date(self.due_at),
            origin: self.origin.0,
            status: self.status,
            reason: self.reason.map(|AsWritten(reason)| reason),
            job: self.job_id.map(stored_id),
            decided_at: date(self.decided_at),
            fired_at: self.fired_at.map(date),
            missed_since: self.missed_since.map(date),
            request_id: self.request_id.map(Text::into_string),
            look_at: is_open.then_some(now),
            seen: false,
            give_up_at: is_open.then_some(give_up_at),
            imported: true,
            until: DateTime::from_millis(self.decided_at.millis().saturating_add(kept_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    const UID: &str = "01938a5e-7c00-7000-8000-000000000001";
    const SIMPLE: &str = "01938a5e7c0070008000000000000001";

    fn mistakes<T: ReadFields + std::fmt::Debug>(json: &str) -> Vec<String> {
        let (errors, ..) = read_json_object::<T>(json.as_bytes()).unwrap_err().into_parts();
        errors.into_iter().map(|error| error.field).collect()
    }

    fn schedule(rule: &str, decided_until: &str) -> String {
        format!(
            r#"{{"id":"nightly","uid":"{UID}","created_at":"2026-11-01T00:00:00Z","updated_at":"2026-11-02T00:00:00Z",
                "since":"2026-11-02T00:00:00Z","decided_until":"{decided_until}","template":{{"kind":"noop"}},{rule}}}"#
        )
    }

    fn at(text: &str) -> DateTime {
        date(text.parse().unwrap())
    }

    #[test]
    fn a_schedule_goes_on_where_it_was() {
        let line = schedule(r#""every_s":3600"#, "2026-11-05T10:00:00Z");
        let Both(definition, past) = read_json_object::<ScheduleLine>(line.as_bytes()).unwrap();
        let stored = past.into_schedule(definition, at("2026-11-05T12:30:00Z")).stored;
        assert_eq!(stored.next_fire_at, Some(at("2026-11-05T11:00:00Z")));
        assert_eq!(
            (stored.since, stored.created_at),
            (at("2026-11-02T00:00:00Z"), at("2026-11-01T00:00:00Z"))
        );
        assert_eq!(stored.uid.to_uuid_1().to_string(), UID);
        // A clock that was ahead decides nothing for the future.
        let line = schedule(r#""every_s":3600"#, "2036-11-05T10:00:00Z");
        let Both(definition, past) = read_json_object::<ScheduleLine>(line.as_bytes()).unwrap();
        let stored = past.into_schedule(definition, at("2026-11-05T12:30:00Z")).stored;
        assert_eq!(stored.cursor, at("2026-11-05T12:30:00Z"));
    }

    #[test]
    fn what_is_wrong_with_a_schedule_is_named() {
        assert_eq!(mistakes::<ScheduleLine>(&schedule(r#""cron":"x""#, "2026-11-05T10:00:00Z")), ["cron"]);
        assert_eq!(
            mistakes::<ScheduleLine>(&schedule(r#""every_s":9"#, "2026-11-01T10:00:00Z")),
            ["decided_until"]
        );
    }

    fn firing(id: &str, more: &str) -> String {
        format!(
            r#"{{"id":"{id}","uid":"{UID}","schedule":"nightly","due_at":"1970-01-01T00:00:05Z",
                "decided_at":"2026-11-05T10:00:00Z",{more}}}"#
        )
    }

    #[test]
    fn a_firing_that_is_not_at_its_end_is_looked_at() {
        let id = format!("{SIMPLE}.5000");
        let open = firing(&id, &format!(r#""origin":"clock","status":"decided","job_id":"{UID}""#));
        let now = at("2026-11-06T00:00:00Z");
        let open = read_json_object::<FiringLine>(open.as_bytes()).unwrap().into_firing(now, 1000);
        assert_eq!((open.look_at, open.until), (Some(now), at("2026-11-05T10:00:01Z")));
        let skipped = firing(&id, r#""origin":"clock","status":"skipped","reason":"overlap""#);
        let skipped = read_json_object::<FiringLine>(skipped.as_bytes()).unwrap().into_firing(now, 1000);
        assert_eq!(
            (skipped.look_at, skipped.reason, skipped.imported),
            (None, Some(FiringReason::Overlap), true)
        );
    }

    #[test]
    fn a_firing_is_that_of_its_schedule_and_time() {
        let fired = format!(r#""origin":"clock","status":"fired","job_id":"{UID}""#);
        assert_eq!(mistakes::<FiringLine>(&firing(&format!("{SIMPLE}.5001"), &fired)), ["id"]);
        let by_hand = format!(r#""origin":"trigger","status":"fired","job_id":"{UID}""#);
        assert_eq!(mistakes::<FiringLine>(&firing(&format!("{SIMPLE}.5000"), &by_hand)), ["id"]);
        assert!(
            read_json_object::<FiringLine>(firing(&format!("{SIMPLE}.manual:x"), &by_hand).as_bytes())
                .is_ok()
        );
        let without = firing(&format!("{SIMPLE}.5000"), r#""origin":"clock","status":"fired""#);
        assert_eq!(mistakes::<FiringLine>(&without), ["job_id"]);
    }
}
