//! The older scheduler's routes, whose clients go on working: `/api/v1/schedule`. A schedule runs a program in a container,
//! once. Its job is of kind `container`, and waits for a worker that serves it.

use actix_web::{
    HttpRequest, HttpResponse, delete, get, patch, post, put,
    web::{Data, Payload},
};
use serde_json::{json, value::RawValue};
use shared_events::{
    JsonText, Timestamp,
    payloads::{self, BadPayload, Container, Payload as _},
};
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::schedule_view::{Change, Command, Moment, NewSchedule, View};
use crate::{
    http::{
        Mistakes, Problem,
        problem::types::{INVALID_FIELD, MALFORMED_BODY},
        read::{Fields, Input, Kept, Mistake, MistakeCode, PathFields, Place, ReadFields, read_json_object},
        read_body, route_problems,
    },
    jobs::{Lifecycle, LifecycleError, job_id},
    schedules::{Definition, Older, SCHEDULE_NOT_FOUND, Schedule, ScheduleId, Schedules},
};

route_problems! {
    /// Reading what is said of a schedule.
    BodyProblems: INVALID_FIELD, MALFORMED_BODY;
    /// Finding a schedule.
    OlderProblems: SCHEDULE_NOT_FOUND;
}

const MAX_BODY: usize = 64 * 1024;

/// How many the list shows, the newest.
const LISTED: i64 = 200;

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_older_schedule).service(list_older_schedules).service(get_older_schedule);
    app.service(put_older_schedule).service(patch_older_schedule).service(delete_older_schedule);
}

/// Which schedule.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
struct SchedulePath {
    /// The schedule's id.
    id: ScheduleId,
}

impl PathFields for SchedulePath {
    fn not_found() -> Problem {
        Problem::new(&SCHEDULE_NOT_FOUND)
    }
}

/// Has a program run in a container, once.
#[utoipa::path(
    tag = "older clients",
    request_body = NewSchedule,
    responses(
        (status = 201, description = "It is stored.", body = View),
        BodyProblems,
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/schedules"))),
)]
#[post("/api/v1/schedule")]
async fn create_older_schedule(
    request: HttpRequest,
    schedules: Data<Schedules>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let older = new(&read(&request, body).await?);
    let schedule = schedules.create_older(definition(&older)?, older).await?;
    Ok(HttpResponse::Created().json(View::of(&schedule, None)))
}

/// Lists the newest 200 schedules, without their logs.
#[utoipa::path(
    tag = "older clients",
    responses((status = 200, description = "The schedules.", body = Vec<View>)),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/schedules"))),
)]
#[get("/api/v1/schedule")]
async fn list_older_schedules(
    schedules: Data<Schedules>,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let mut views = Vec::new();
    for schedule in schedules.newest_older(LISTED).await? {
        let job = match schedules.job_of_older(&schedule).await? {
            Some(id) => lifecycle.find_brief(job_id(id)).await?,
            None => None,
        };
        views.extend(View::of(&schedule, job.as_ref()).map(View::without_logs));
    }
    Ok(HttpResponse::Ok().json(views))
}

/// Shows a schedule, deleted or not.
#[utoipa::path(
    tag = "older clients",
    params(Input<SchedulePath>),
    responses(
        (status = 200, description = "The schedule.", body = View),
        OlderProblems,
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/schedules/{id}"))),
)]
#[get("/api/v1/schedule/{id}")]
async fn get_older_schedule(
    input: Input<SchedulePath>,
    schedules: Data<Schedules>,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let schedule = schedules.older(&input.path.id).await?;
    show(&schedule, &schedules, &lifecycle).await
}

/// Replaces a schedule that is not deleted.
#[utoipa::path(
    tag = "older clients",
    params(Input<SchedulePath>),
    request_body = NewSchedule,
    responses(
        (status = 200, description = "It is as asked for.", body = View),
        BodyProblems,
        OlderProblems,
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/schedules/{id}"))),
)]
#[put("/api/v1/schedule/{id}")]
async fn put_older_schedule(
    // First: what reads the rest leaves no body.
    body: Payload,
    input: Input<SchedulePath>,
    request: HttpRequest,
    schedules: Data<Schedules>,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let wanted = new(&read(&request, body).await?);
    let next = |before: &Older| {
        let client_id = wanted.client_id.clone().or_else(|| before.client_id.clone());
        let older = Older { client_id, ..wanted.clone() };
        Ok::<_, Problem>((definition(&older)?, older))
    };
    let schedule = schedules.change_older(&input.path.id, next).await?;
    show(&schedule, &schedules, &lifecycle).await
}

/// Changes some of a schedule that is not deleted.
#[utoipa::path(
    tag = "older clients",
    params(Input<SchedulePath>),
    request_body = Change,
    responses(
        (status = 200, description = "It is as asked for.", body = View),
        BodyProblems,
        OlderProblems,
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/schedules/{id}"))),
)]
#[patch("/api/v1/schedule/{id}")]
async fn patch_older_schedule(
    // First: what reads the rest leaves no body.
    body: Payload,
    input: Input<SchedulePath>,
    request: HttpRequest,
    schedules: Data<Schedules>,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let Change { docker_image, cron, command } = read(&request, body).await?;
    let next = |before: &Older| {
        let mut older = before.clone();
        if let Some(Kept(image)) = &docker_image {
            older.image = (**image).to_owned();
        }
        if let Some(Kept(Moment(cron))) = &cron {
            older.cron.clone_from(cron);
        }
        if let Some(Command(command)) = &command {
            older.command = Some(command.clone());
        }
        Ok::<_, Problem>((definition(&older)?, older))
    };
    let schedule = schedules.change_older(&input.path.id, next).await?;
    show(&schedule, &schedules, &lifecycle).await
}

/// Marks a schedule as deleted, and keeps it.
#[utoipa::path(
    tag = "older clients",
    params(Input<SchedulePath>),
    responses(
        (status = 200, description = "It is deleted.", body = View),
        OlderProblems,
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/schedules/{id}"))),
)]
#[delete("/api/v1/schedule/{id}")]
async fn delete_older_schedule(
    input: Input<SchedulePath>,
    schedules: Data<Schedules>,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let schedule = schedules.delete_older(&input.path.id).await?;
    show(&schedule, &schedules, &lifecycle).await
}

async fn show(
    schedule: &Schedule,
    schedules: &Schedules,
    lifecycle: &Lifecycle,
) -> Result<HttpResponse, Problem> {
    let job = match schedules.job_of_older(schedule).await? {
        Some(id) => match lifecycle.get(job_id(id)).await {
            Ok(job) => Some(job),
            Err(LifecycleError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    Ok(HttpResponse::Ok().json(View::of(schedule, job.as_ref())))
}

/// Reads an object's fields, and passes over those that nobody knows.
async fn read<T: ReadFields>(request: &HttpRequest, body: Payload) -> Result<T, Problem> {
    let body = read_body(request, body.into_inner(), MAX_BODY).await?;
    let mut fields = Fields::of_json(&body)?;
    let read = T::read(&mut fields);
    read.ok_or_else(|| fields.finish().into())
}

fn new(new: &NewSchedule) -> Older {
    let NewSchedule { docker_image, cron, command, client_id } = new;
    Older {
        image: (**docker_image).to_owned(),
        cron: cron.0.clone(),
        command: command.as_ref().map(|command| command.0.clone()),
        client_id: client_id.as_deref().map(str::to_owned),
    }
}

/// What is wrong with what its job would be given, by the older fields.
fn mistakes(payload: &serde_json::Value) -> Option<Mistakes> {
    let payload = JsonText::of(payload).ok()?;
    let wrong = Container::KIND.parse().map(|kind| payloads::check(&kind, &payload)).unwrap_or_default();
    if wrong.is_empty() {
        return None;
    }
    let mut mistakes = Mistakes::default();
    for BadPayload { field, message } in wrong {
        let field = if field == "payload.image" { "docker-image" } else { "command" };
        mistakes.add(Place::Body, field, Mistake::new(MistakeCode::WrongFormat, message));
    }
    Some(mistakes)
}

/// The schedule that does what the older one did.
fn definition(older: &Older) -> Result<Definition, Problem> {
    let at = Moment(older.cron.clone()).time().filter(|at| *at > Timestamp::now());
    let Some(at) = at else {
        let mut mistakes = Mistakes::default();
        let past = Mistake::new(MistakeCode::OutOfRange, "must not be past");
        mistakes.add(Place::Body, "cron", past);
        return Err(mistakes.into());
    };
    let mut payload = json!({ "image": older.image });
    let command: Option<Box<RawValue>> =
        older.command.as_deref().and_then(|text| serde_json::from_str(text).ok());
    match command.map(|command| serde_json::from_str(command.get())) {
        Some(Ok(script @ serde_json::Value::String(_))) => payload["script"] = json!([script]),
        Some(Ok(arguments)) => payload["command"] = arguments,
        _ => {}
    }
    if let Some(mistakes) = mistakes(&payload) {
        return Err(mistakes.into());
    }
    // What was to run while nobody was there runs up to a day later.
    let schedule = json!({
        "at": at,
        "catch_up_s": 86_400,
        "template": { "kind": "container", "payload": payload },
    });
    read_json_object(schedule.to_string().as_bytes()).map_err(Problem::from)
}
