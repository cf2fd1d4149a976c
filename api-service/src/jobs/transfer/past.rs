//! What an exported job says besides what a new one does, and the document that it becomes.

use std::time::Duration;

use bson::DateTime;
use service_kit::telemetry::traces;
use shared_events::{
    AttemptSummary, CancelReason, JobError, JobId, JsonText, Position, Status, Timestamp, WorkerId,
};

use super::super::{
    Job, NewJob, NextAction,
    model::{Cancel, date, position, stored_id},
};
use crate::{
    http::read::{AsWritten, Both, Fields, Mistake, MistakeCode, Number, ReadFields, Text},
    jobs::OfSchedule,
    schedules::{ScheduleId, Uid},
};

/// How far a job's time of creation and that of its id may differ: the id has whole milliseconds.
const SAME_TIME: Duration = Duration::from_secs(1);

/// How many attempts a run remembers.
const MOST_ATTEMPTS: usize = 100;

/// A job of an export.
pub type JobLine = Both<NewJob, Past>;

/// What has become of a job so far.
#[derive(Debug, ReadFields)]
#[read(check = check_time(id, created_at))]
#[read(check = check_end(status, ended_at))]
#[read(check = check_size(result, attempts))]
pub struct Past {
    id: JobId,
    created_at: Timestamp,
    status: Status,
    run: Number<1, { u32::MAX - 1 }>,
    attempt: Option<Number<0, { u32::MAX - 1 }>>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    worker: Option<AsWritten<WorkerId>>,
    result: Option<AsWritten<JsonText>>,
    error: Option<AsWritten<JobError>>,
    reason: Option<AsWritten<CancelReason>>,
    cancel_requested_at: Option<Timestamp>,
    cancel_reason: Option<Text<1, 1024>>,
    attempts: Option<AsWritten<Vec<AttemptSummary>>>,
    schedule: Option<ScheduleId>,
    schedule_uid: Option<Uid>,
    due_at: Option<Timestamp>,
    #[allow(dead_code, reason = "is shown of a job that is queued, and means nothing to its next run")]
    next_at: Option<Timestamp>,
    #[allow(dead_code, reason = "the same")]
    waits_for: Option<AsWritten<JobError>>,
}

fn check_time(id: &JobId, created_at: &Timestamp, fields: &mut Fields<'_>) {
    let of_id = super::super::created_at(stored_id(*id));
    if of_id.since(*created_at).max(created_at.since(of_id)) > SAME_TIME {
        let message = "must be the time that the id has";
        fields.wrong("created_at", Mistake::new(MistakeCode::Conflict, message));
    }
}

fn check_end(status: &Status, ended_at: &Option<Timestamp>, fields: &mut Fields<'_>) {
    if status.is_terminal() && ended_at.is_none() {
        let message = "is required of a job that has ended";
        fields.wrong("ended_at", Mistake::new(MistakeCode::Required, message));
    }
}

fn check_size(
    result: &Option<AsWritten<JsonText>>,
    attempts: &Option<AsWritten<Vec<AttemptSummary>>>,
    fields: &mut Fields<'_>,
) {
    if let Some(AsWritten(result)) = result
        && let Err(error) = result.clone().within_limits()
    {
        fields.wrong("result", Mistake::new(MistakeCode::WrongLength, error.to_string()));
    }
    if attempts.as_ref().is_some_and(|AsWritten(attempts)| attempts.len() > MOST_ATTEMPTS) {
        let message = format!("must be at most {MOST_ATTEMPTS}");
        fields.wrong("attempts", Mistake::new(MistakeCode::WrongLength, message));
    }
}

impl Past {
    /// Whether it is to be announced at once where it is taken in.
    pub(super) fn is_waiting(&self, new_job: &NewJob, now: DateTime) -> bool {
        !self.status.is_terminal() && new_job.scheduled_for(now).is_none()
    }

    pub(super) const fn id(&self) -> JobId {
        self.id
    }

    /// The document of this job, taken in at `now`. One that has ended stays as it is; one that has not starts a new run,
    /// or waits for its time as before. Its keys are not taken in: what they promised was over soon after its creation.
    pub(super) fn into_job(
        self,
        new_job: NewJob,
        mark: NextAction,
        now: DateTime,
        announce_by: DateTime,
    ) -> Job {
        let run = self.run.get();
        let fresh = Job {
            id: stored_id(self.id),
            created_at: date(self.created_at),
            dedup_key: None,
            schedule: self.of_schedule(),
            ..new_job.into_job(mark, None, now, announce_by, traces::enter(None))
        };
        match self.status {
            // Nobody but the API has heard of its run.
            Status::Scheduled => Job { run, elsewhere: Some(run - 1), ..fresh },
            Status::Queued | Status::Running => Job { run: run + 1, elsewhere: Some(run), ..fresh },
            Status::Finished | Status::Failed | Status::Cancelled => self.ended(fresh),
        }
    }

    /// The firing that it is of, where it is of one.
    fn of_schedule(&self) -> Option<OfSchedule> {
        let (id, uid, due_at) = (self.schedule.as_ref()?, self.schedule_uid?, self.due_at?);
        Some(OfSchedule { id: id.as_str().to_owned(), uid: uid.0, due_at: date(due_at) })
    }

    fn ended(self, fresh: Job) -> Job {
        let (run, status) = (self.run.get(), self.status);
        let attempt = self.attempt.map_or(0, Number::get);
        let (start_by, expire_at, next_action, next_action_at) = (None, None, None, None);
        let requested = |at: Timestamp| Cancel {
            requested_at: date(at),
            reason: self.cancel_reason.clone().map(Text::into_string),
        };
        Job {
            run,
            attempt,
            status,
            position: position(Position { run, attempt, status }),
            worker: self.worker.map(|AsWritten(worker)| worker),
            started_at: self.started_at.map(date),
            ended_at: self.ended_at.map(date),
            result: self.result.map(|AsWritten(result)| result.into_text()),
            error: self.error.map(|AsWritten(error)| error.within_limits()),
            reason: self.reason.map(|AsWritten(reason)| reason),
            attempts: self.attempts.map(|AsWritten(attempts)| attempts).unwrap_or_default(),
            cancel: self.cancel_requested_at.map(requested),
            elsewhere: Some(run),
            epoch: 1,
            start_by,
            expire_at,
            next_action,
            next_action_at,
            ..fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    const ID: &str = "01938a5e-7c00-7000-8000-000000000001";

    fn taken_in(more: &str) -> Result<Job, Vec<String>> {
        let created_at = super::super::super::created_at(stored_id(ID.parse().unwrap()));
        let json =
            format!(r#"{{"id":"{ID}","created_at":"{created_at}","kind":"own","timeout_s":7,{more}}}"#);
        let read = read_json_object::<JobLine>(json.as_bytes()).map_err(|mistakes| {
            let (errors, ..) = mistakes.into_parts();
            errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
        });
        let now = DateTime::now();
        read.map(|Both(new_job, past)| past.into_job(new_job, NextAction::Announce, now, now))
    }

    #[test]
    fn what_had_ended_stays_as_it_was() {
        let job = taken_in(
            r#""status":"failed","run":3,"attempt":2,"ended_at":"2026-11-20T12:00:00Z","result":[1.50],
               "error":{"code":"a","message":"b"},"max_attempts":2,"run_at":"2020-01-01T00:00:00Z","attempts":[]"#,
        )
        .unwrap();
        assert_eq!((job.status, job.run, job.attempt, job.elsewhere), (Status::Failed, 3, 2, Some(3)));
        assert_eq!((job.next_action, job.next_action_at, job.timeout_s), (None, None, 7));
        assert_eq!(job.result.as_deref(), Some("[1.50]"));
        assert_eq!(job.job_id().to_string(), ID);
    }

    #[test]
    fn what_had_not_ended_starts_a_new_run_or_waits_on() {
        for status in ["queued", "running"] {
            let job = taken_in(&format!(r#""status":"{status}","run":3,"attempt":2,"worker":"w""#)).unwrap();
            assert_eq!((job.status, job.run, job.attempt, job.epoch), (Status::Queued, 4, 0, 1));
            assert_eq!((job.next_action, job.elsewhere), (Some(NextAction::Announce), Some(3)));
            assert_eq!(job.worker, None);
        }
        // Its time was to come and has not.
        let later = Timestamp::now() + Duration::from_secs(86_400);
        let job = taken_in(&format!(r#""status":"scheduled","run":1,"run_at":"{later}""#)).unwrap();
        assert_eq!((job.status, job.run, job.epoch, job.elsewhere), (Status::Scheduled, 1, 0, Some(0)));
        assert_eq!(job.next_action, Some(NextAction::Promote));
        // It has come since.
        let job = taken_in(r#""status":"scheduled","run":1,"run_at":"2020-01-01T00:00:00Z""#).unwrap();
        assert_eq!((job.status, job.run, job.epoch, job.elsewhere), (Status::Queued, 1, 1, Some(0)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, fields) in [
            (r#""status":"finished","run":1"#, vec!["ended_at"]),
            (r#""status":"lost","run":0"#, vec!["status", "run"]),
            (
                r#""status":"queued","run":1,"queue":"NO","attempts":[{}],"shoe":1"#,
                vec!["queue", "attempts", "shoe"],
            ),
        ] {
            assert_eq!(taken_in(more), Err(fields.into_iter().map(str::to_owned).collect()), "{more}");
        }
        let wrong = format!(
            r#"{{"id":"{ID}","created_at":"2001-01-01T00:00:00Z","kind":"own","status":"queued","run":1}}"#
        );
        let (errors, ..) = read_json_object::<JobLine>(wrong.as_bytes()).unwrap_err().into_parts();
        assert_eq!(errors[0].field, "created_at");
    }
}
