//! What the older scheduler's clients send and are shown.

use jiff::civil::DateTime as Civil;
use serde::Serialize;
use serde_json::value::RawValue;
use shared_events::{JobError, Status, Timestamp};
use utoipa::ToSchema;

use crate::{
    http::read::{FieldValue, Kept, Mistake, MistakeCode, ReadFields, Text},
    jobs::{Job, timestamp},
    schedules::{Older, Schedule},
};

/// A container's image.
pub(super) type Image = Text<1, 512>;

/// Who a client says it is.
pub(super) type ClientId = Text<1, 256>;

/// A moment as the older scheduler has it: year, month, day, hour and minute, in UTC.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(value_type = Vec<i32>, min_items = 5, max_items = 5, example = json!([2030, 1, 31, 23, 59]))]
pub(super) struct Moment(pub(super) Vec<i32>);

impl Moment {
    /// It as a time; none where there is no such date.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let [year, month, day, hour, minute] = self.0[..] else { return None };
        let small = |number: i32| i8::try_from(number).ok();
        let (year, month, day) =
            (i16::try_from(year).ok().filter(|year| *year > 0)?, small(month)?, small(day)?);
        let civil = Civil::new(year, month, day, small(hour)?, small(minute)?, 0, 0).ok()?;
        let instant = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
        Some(Timestamp::from_millis(instant.as_millisecond()))
    }
}

impl FieldValue for Moment {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let wrong = |code| {
            Mistake::new(code, "must be [year, month, day, hour, minute], a date that there is, in UTC")
        };
        let moment = Self(serde_json::from_str(json.get()).map_err(|_| wrong(MistakeCode::WrongType))?);
        if moment.time().is_none() {
            return Err(wrong(MistakeCode::WrongFormat));
        }
        Ok(moment)
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "is a body's, not a parameter"))
    }
}

/// What runs in a container, in JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command(pub(super) String);

impl utoipa::PartialSchema for Command {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let either =
            utoipa::openapi::OneOfBuilder::new().item(String::schema()).item(Vec::<String>::schema());
        utoipa::openapi::Schema::OneOf(either.build()).into()
    }
}

impl ToSchema for Command {}

impl FieldValue for Command {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let is_text = serde_json::from_str::<String>(json.get()).is_ok();
        if is_text || serde_json::from_str::<Vec<String>>(json.get()).is_ok() {
            return Ok(Self(json.get().to_owned()));
        }
        Err(Mistake::new(MistakeCode::WrongType, "must be a string, or a list of strings"))
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "is a body's, not a parameter"))
    }
}

/// A new schedule. What else is sent is passed over.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = NewOlderSchedule)]
pub(super) struct NewSchedule {
    /// The container's image.
    #[schema(inline, rename = "docker-image", example = "alpine:3.22")]
    pub(super) docker_image: Image,
    /// When it is to run, once.
    #[schema(inline)]
    pub(super) cron: Moment,
    /// What runs in it: a text for a shell, or a list of arguments.
    #[schema(inline, value_type = Command, required = false)]
    pub(super) command: Option<Command>,
    /// Who asks.
    #[schema(inline, rename = "client-id")]
    pub(super) client_id: Option<ClientId>,
}

/// A change of a schedule. What is absent stays; what else is sent is passed over.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = OlderScheduleChange)]
pub(super) struct Change {
    /// The container's image.
    #[schema(inline, rename = "docker-image", value_type = Image, required = false)]
    pub(super) docker_image: Option<Kept<Image>>,
    /// When it is to run, once.
    #[schema(inline, value_type = Moment, required = false)]
    pub(super) cron: Option<Kept<Moment>>,
    /// What runs in it.
    #[schema(inline, value_type = Command, required = false)]
    pub(super) command: Option<Command>,
}

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It has not run.
    Created,
    /// It runs.
    Running,
    /// It has run, well or not.
    Completed,
    /// It was deleted.
    Deleted,
}

/// What a program has written, and how it ended.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Logs {
    /// What it wrote to its output.
    stdout: String,
    /// What it wrote to its error output; where it could not run, why.
    stderr: String,
    /// Its exit code, where it had one.
    #[serde(rename = "exit-code", skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
}

impl Logs {
    fn of(result: Option<&str>, error: Option<&JobError>) -> Self {
        let result: serde_json::Value =
            result.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let text = |name: &str| result[name]["text"].as_str().unwrap_or_default().to_owned();
        let (stdout, mut stderr) = (text("stdout"), text("stderr"));
        if let Some(error) = error.filter(|_| stderr.is_empty()) {
            stderr.clone_from(&error.message);
        }
        Self { stdout, stderr, exit_code: result["exit_code"].as_i64() }
    }
}

/// A schedule as the older scheduler showed it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OlderSchedule)]
#[serde(rename_all = "kebab-case")]
pub(super) struct View {
    /// Its id.
    #[serde(rename = "_id")]
    id: String,
    /// Who asked for it.
    client_id: String,
    /// The container's image.
    docker_image: String,
    /// When it is to run, in UTC.
    cron: Vec<i32>,
    /// What runs in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    command: Option<Box<RawValue>>,
    /// Where it stands.
    status: State,
    /// Once it has run.
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Logs>,
    /// When it was created.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    /// When it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    executed_at: Option<Timestamp>,
}

impl View {
    /// The same, short.
    pub(super) fn without_logs(self) -> Self {
        Self { logs: None, ..self }
    }

    /// A schedule, with the job that it has created, if it has.
    pub(super) fn of(schedule: &Schedule, job: Option<&Job>) -> Option<Self> {
        let stored = &schedule.stored;
        let Older { image, cron, command, client_id } = stored.older.clone()?;
        let status = match (stored.deleted_at, job.map(|job| job.status)) {
            (Some(_), _) => State::Deleted,
            (None, Some(Status::Running)) => State::Running,
            (None, Some(status)) if status.is_terminal() => State::Completed,
            (None, _) => State::Created,
        };
        let ended = job.filter(|job| job.status.is_terminal());
        Some(Self {
            id: stored.id.to_string(),
            client_id: client_id.unwrap_or_else(|| "anonymous".to_owned()),
            docker_image: image,
            cron,
            command: command.and_then(|text| RawValue::from_string(text).ok()),
            status,
            logs: ended.map(|job| Logs::of(job.result.as_deref(), job.error.as_ref())),
            created_at: timestamp(stored.created_at),
            updated_at: timestamp(stored.updated_at),
            deleted_at: stored.deleted_at.map(timestamp),
            executed_at: job.and_then(|job| job.started_at).map(timestamp),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_that_there_is() {
        let read = |json: &str| Moment::from_json(serde_json::from_str(json).unwrap()).ok()?.time();
        assert_eq!(read("[2028,2,29,23,59]").unwrap().to_string(), "2028-02-29T23:59:00.000Z");
        for bad in
            ["[2027,2,29,0,0]", "[2027,1,1,24,0]", "[2027,1,1,0]", "[0,1,1,0,0]", "[99999,1,1,0,0]", "7"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn logs_are_what_the_program_wrote() {
        let logs = |result: Option<&str>| serde_json::to_value(Logs::of(result, None)).unwrap();
        assert_eq!(
            logs(Some(r#"{"stdout":{"text":"a"},"stderr":{"text":"b"},"exit_code":3}"#)),
            serde_json::json!({ "stdout": "a", "stderr": "b", "exit-code": 3 })
        );
        assert_eq!(logs(None), serde_json::json!({ "stdout": "", "stderr": "" }));
    }
}
