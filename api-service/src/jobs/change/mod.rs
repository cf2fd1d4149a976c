//! `PATCH /v1/jobs/{id}`: changing a job whose time has not come.

mod payload;
mod route;

pub(super) use route::change_job;

use bson::DateTime;
use shared_events::{JsonText, Kind, Priority, Queue, RetryPauses, Status, Timestamp, payloads};
use utoipa::ToSchema;

use super::{
    Job, KeepS, NewJob,
    new_job::{MaxAttempts, TimeoutS},
    timing::{BaseS, DelayS, Factor, MaxS, StartWithinS, check_delay, run_at, start_by},
};
use crate::http::read::{
    FieldValue, Fields, JsonBody, Kept, Mistake, MistakeCode, Mistakes, ReadFields, Removable, object_field,
};

/// What is to become of a scheduled job (RFC 7396); `null` stands for a field's default.
#[derive(Debug, Clone, Default, PartialEq, ReadFields, ToSchema)]
#[serde(deny_unknown_fields)]
#[read(check = check_timing(run_at, delay_s))]
pub(super) struct JobChange {
    /// When to run it from now on; `null` means at once.
    #[schema(value_type = Option<Timestamp>)]
    pub run_at: Option<Removable<Timestamp>>,
    /// The same, in seconds from the change.
    #[schema(inline, value_type = DelayS, required = false)]
    pub delay_s: Option<Kept<DelayS>>,
    /// Within how many seconds from then an attempt is to begin.
    #[schema(inline, value_type = Option<StartWithinS>)]
    pub start_within_s: Option<Removable<StartWithinS>>,
    /// Where to send it.
    #[schema(value_type = Option<Queue>)]
    pub queue: Option<Removable<Queue>>,
    /// How urgent it is.
    #[schema(value_type = Option<Priority>)]
    pub priority: Option<Removable<Priority>>,
    /// What changes in the handler's input: a merge patch of it too.
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Removable<JsonText>>,
    /// How long one attempt may take, in seconds.
    #[schema(inline, value_type = Option<TimeoutS>)]
    pub timeout_s: Option<Removable<TimeoutS>>,
    /// How many attempts may count.
    #[schema(inline, value_type = Option<MaxAttempts>)]
    pub max_attempts: Option<Removable<MaxAttempts>>,
    /// How long it is kept after its end, in seconds.
    #[schema(inline, value_type = Option<KeepS>)]
    pub keep_s: Option<Removable<KeepS>>,
    /// What changes about how long it waits between attempts.
    #[schema(value_type = Option<RetryChange>)]
    pub retry: Option<Removable<RetryChange>>,
}

impl JsonBody for JobChange {
    const MAX_BYTES: usize = NewJob::MAX_BYTES;
}

/// What is to change about how long a job waits between attempts (RFC 7396).
#[derive(Debug, Clone, Default, PartialEq, ReadFields, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryChange {
    /// The longest pause after the first failure, in seconds.
    #[schema(inline, value_type = Option<BaseS>)]
    pub base_s: Option<Removable<BaseS>>,
    /// The longest pause of all, in seconds.
    #[schema(inline, value_type = Option<MaxS>)]
    pub max_s: Option<Removable<MaxS>>,
    /// What each further failure multiplies the longest pause with.
    #[schema(inline, value_type = Option<Factor>)]
    pub factor: Option<Removable<Factor>>,
}

impl FieldValue for RetryChange {
    fn from_json(json: &serde_json::value::RawValue) -> Result<Self, Mistake> {
        let wrong = Mistake::new(MistakeCode::WrongType, "must be an object of base_s, max_s and factor");
        object_field(json, "", &mut Mistakes::default()).ok_or(wrong)
    }

    fn of_field(json: &serde_json::value::RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        object_field(json, name, mistakes)
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "must be an object"))
    }
}

fn check_timing(
    run_at: &Option<Removable<Timestamp>>,
    delay_s: &Option<Kept<DelayS>>,
    fields: &mut Fields<'_>,
) {
    let time = run_at.as_ref().and_then(|Removable(time)| *time);
    check_delay(time, run_at.is_some(), delay_s.is_some(), fields);
}

/// A field that would be wrong after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongField {
    /// Such as `payload.min_s`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What a field becomes: what it is where it is not named, its default where it is removed.
fn becomes<T, U>(change: Option<&Removable<T>>, is: U, default: U, value: impl Fn(&T) -> U) -> U {
    match change {
        None => is,
        Some(Removable(None)) => default,
        Some(Removable(Some(new))) => value(new),
    }
}

impl JobChange {
    /// What the job becomes by a change at `now`.
    ///
    /// # Errors
    /// What would be wrong with it then.
    pub(super) fn applied_to(&self, job: &Job, now: DateTime) -> Result<Job, Vec<WrongField>> {
        let mut wrong = Vec::new();
        let delay = self.delay_s.as_ref().map(|Kept(delay)| *delay);
        let run_at = match &self.run_at {
            Some(Removable(time)) => run_at(*time, None, now),
            None if delay.is_some() => run_at(None, delay, now),
            None => job.run_at,
        };
        let start_within_s =
            becomes(self.start_within_s.as_ref(), job.start_within_s, None, |within| Some(within.get()));
        let start_by = start_by(run_at.unwrap_or(now).max(now), start_within_s);
        let next = Job {
            run_at,
            start_within_s,
            start_by,
            expire_at: start_by,
            next_action_at: Some(run_at.unwrap_or(now)),
            queue: becomes(self.queue.as_ref(), job.queue.clone(), Queue::default(), Queue::clone),
            priority: becomes(self.priority.as_ref(), job.priority, Priority::default(), |new| *new),
            payload: Some(self.payload_of(job, &mut wrong)),
            timeout_s: becomes(
                self.timeout_s.as_ref(),
                job.timeout_s,
                NewJob::default_timeout().get(),
                |new| new.get(),
            ),
            max_attempts: becomes(
                self.max_attempts.as_ref(),
                job.max_attempts,
                NewJob::default_max_attempts().get(),
                |new| new.get(),
            ),
            keep_s: becomes(self.keep_s.as_ref(), job.keep_s, None, |new| Some(new.get())),
            retry: becomes(self.retry.as_ref(), job.retry, None, |change| {
                Some(change.applied_to(job.retry, &mut Vec::new()))
            }),
            revision: job.revision + 1,
            ..job.clone()
        };
        if let Some(Removable(Some(change))) = &self.retry {
            change.applied_to(job.retry, &mut wrong);
        }
        if wrong.is_empty() { Ok(next) } else { Err(wrong) }
    }

    fn payload_of(&self, job: &Job, wrong: &mut Vec<WrongField>) -> String {
        let is = job.payload.as_deref().unwrap_or("{}");
        let patch = match &self.payload {
            None => return is.to_owned(),
            Some(Removable(None)) => return checked(&job.kind, "{}".to_owned(), wrong),
            Some(Removable(Some(patch))) => patch,
        };
        checked(&job.kind, payload::merged(is, patch.as_str()), wrong)
    }
}

/// The payload, as one that a new job may have.
fn checked(kind: &Kind, text: String, wrong: &mut Vec<WrongField>) -> String {
    match JsonText::from_stored(text.clone()).and_then(JsonText::within_limits) {
        Ok(payload) => wrong.extend(
            payloads::check(kind, &payload)
                .into_iter()
                .map(|bad| WrongField { field: bad.field, message: bad.message }),
        ),
        Err(error) => wrong.push(WrongField { field: "payload".to_owned(), message: error.to_string() }),
    }
    text
}

impl RetryChange {
    fn applied_to(&self, is: Option<RetryPauses>, wrong: &mut Vec<WrongField>) -> RetryPauses {
        let (is, default) = (is.unwrap_or(RetryPauses::DEFAULT), RetryPauses::DEFAULT);
        let next = RetryPauses {
            base_s: becomes(self.base_s.as_ref(), is.base_s, default.base_s, |new| new.get()),
            max_s: becomes(self.max_s.as_ref(), is.max_s, default.max_s, |new| new.get()),
            factor: becomes(self.factor.as_ref(), is.factor, default.factor, |new| new.get()),
        };
        if next.base_s > next.max_s {
            let message = "must not be below base_s".to_owned();
            wrong.push(WrongField { field: "retry.max_s".to_owned(), message });
        }
        next
    }
}

/// Whether a job can still be changed.
pub(super) const fn is_open_to_changes(job: &Job) -> bool {
    matches!(job.status, Status::Scheduled)
}

#[cfg(test)]
mod tests;
