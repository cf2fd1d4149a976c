//! `/v1/schedules`.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, http::header, patch, post, put, web::Data,
};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    Change, Definition, Schedule, ScheduleError, ScheduleId, Schedules,
    filter::{Filter, ListFilter, ListQuery},
    firing_routes,
    problems::ChangeProblems,
    requests::{ReadHeaders, SchedulePath},
    view::{ScheduleList, ScheduleView, tag},
};
use crate::http::{
    Problem, answer,
    etag::{self, ChangeConditions, Conditional},
    read::{Both, Empty, Input, Json},
    room,
};

/// About how many bytes a page takes: templates as they are read, and as they are shown.
const PAGE_BYTES: usize = 8 << 20;

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_schedule).service(list_schedules).service(firing_routes::preview_schedule);
    app.service(get_schedule).service(put_schedule).service(patch_schedule).service(delete_schedule);
    app.service(firing_routes::trigger_schedule)
        .service(firing_routes::backfill_schedule)
        .service(firing_routes::next_times)
        .service(firing_routes::list_firings);
}

type CreateSchedule = Input<Empty, Empty, Empty, Json<Definition>>;

/// Creates a schedule, under an id of the service's choice.
///
/// A 201 says that it is stored, in the journal of a majority of the database's members. Nothing that was due before fires.
/// To create one under an id of one's own, and once only, send `PUT /v1/schedules/{id}` with `If-None-Match: *`.
#[utoipa::path(
    tag = "schedules",
    params(CreateSchedule),
    request_body(content = Definition, example = json!({
        "cron": "30 2 * * MON-FRI", "time_zone": "Europe/Berlin", "template": { "kind": "noop" },
    })),
    responses((status = 201, description = "The schedule is stored.", body = ScheduleView<'static>, headers(
        ("Location" = String, description = "The schedule's path."),
        ("ETag" = String, description = "Names this state of the schedule."),
    ))),
)]
#[post("/v1/schedules")]
async fn create_schedule(input: CreateSchedule, schedules: Data<Schedules>) -> Result<HttpResponse, Problem> {
    let schedule = schedules.create(None, input.body.0).await?;
    Ok(created(&schedule))
}

/// Lists schedules, by descending id: newest first, but for ids that clients have chosen.
///
/// An empty `next_page_token` is the only end.
#[utoipa::path(
    tag = "schedules",
    params(Input<Empty, ListQuery<Filter>>),
    responses((status = 200, description = "A page of schedules.", body = ScheduleList<'static>)),
)]
#[get("/v1/schedules")]
async fn list_schedules(
    input: Input<Empty, ListQuery<Filter>>,
    request: HttpRequest,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let ListQuery { filter, after, size } = input.query;
    let room = room::for_page(&request, PAGE_BYTES).await?;
    let page = schedules.store().page(&filter, after.as_ref(), size).await?;
    let next = page.next.map(|after: ScheduleId| filter.token(&after)).unwrap_or_default();
    let rest = rest_of_list(page.unreadable, &next);
    let to_json = |schedule: Schedule| answer::piece(&ScheduleView::from(&schedule));
    Ok(answer::json_list("schedules", page.schedules, to_json, &rest, Some(room)))
}

/// What stands behind a list's items.
pub(super) fn rest_of_list(unreadable: usize, next: &str) -> String {
    let unreadable = match unreadable {
        0 => String::new(),
        some => format!(",\"unreadable\":{some}"),
    };
    format!("{unreadable},\"next_page_token\":\"{next}\"")
}

type GetSchedule = Input<SchedulePath, Empty, ReadHeaders>;

/// Shows a schedule.
#[utoipa::path(
    tag = "schedules",
    params(GetSchedule),
    responses(
        (status = 200, description = "The schedule.", body = ScheduleView<'static>, headers(
            ("ETag" = String, description = "Names this state of the schedule, for `If-None-Match` and `If-Match`."),
        )),
        (status = 304, description = "The schedule is as `If-None-Match` has it.", headers(
            ("ETag" = String, description = "Names this state of the schedule."),
        )),
        ChangeProblems,
    ),
)]
#[get("/v1/schedules/{id}")]
async fn get_schedule(input: GetSchedule, schedules: Data<Schedules>) -> Result<HttpResponse, Problem> {
    let Both(conditional, if_match) = input.headers;
    let schedule = schedules.get(&input.path.id).await?;
    if if_match.if_match.is_some_and(|tags| !tags.has(&tag(&schedule))) {
        return Err(ScheduleError::ConditionFailed.into());
    }
    Ok(Conditional::of(conditional).json(HttpResponse::Ok(), &ScheduleView::from(&schedule), None))
}

type PutSchedule = Input<SchedulePath, Empty, ChangeConditions, Json<Definition>>;

/// Replaces a schedule; with `If-None-Match: *`, creates one under this id.
///
/// Where it is due at other times than before, nothing that was due before this fires by itself.
#[utoipa::path(
    tag = "schedules",
    params(PutSchedule),
    request_body(content = Definition),
    responses(
        (status = 200, description = "The schedule is as asked for.", body = ScheduleView<'static>, headers(
            ("ETag" = String, description = "Names this state of the schedule."),
        )),
        (status = 201, description = "The schedule is stored, where the request has `If-None-Match: *`.",
            body = ScheduleView<'static>, headers(
            ("Location" = String, description = "The schedule's path."),
            ("ETag" = String, description = "Names this state of the schedule."),
        )),
        ChangeProblems,
    ),
)]
#[put("/v1/schedules/{id}")]
async fn put_schedule(input: PutSchedule, schedules: Data<Schedules>) -> Result<HttpResponse, Problem> {
    let (id, conditions, definition) = (input.path.id, input.headers, input.body.0);
    if conditions.want_nothing_there() && conditions.hold(None) {
        return Ok(created(&schedules.create(Some(id), definition).await?));
    }
    let holds = |schedule: &Schedule| conditions.hold(Some(&tag(schedule)));
    let schedule = schedules.replace(&id, &definition, holds).await?;
    Ok(etag::json(HttpResponse::Ok(), &ScheduleView::from(&schedule)))
}

type PatchSchedule = Input<SchedulePath, Empty, ChangeConditions, Json<Change>>;

/// Changes some of a schedule (RFC 7396).
///
/// `null` takes a field back to its default. Where it is due at other times than before, nothing that was due before this
/// fires by itself. What is due while it is paused is not made up for.
#[utoipa::path(
    tag = "schedules",
    params(PatchSchedule),
    request_body(content(
        (Change = "application/json"),
        (Change = "application/merge-patch+json"),
    )),
    responses(
        (status = 200, description = "The schedule is as asked for.", body = ScheduleView<'static>, headers(
            ("ETag" = String, description = "Names this state of the schedule."),
        )),
        ChangeProblems,
    ),
)]
#[patch("/v1/schedules/{id}")]
async fn patch_schedule(input: PatchSchedule, schedules: Data<Schedules>) -> Result<HttpResponse, Problem> {
    let conditions = input.headers;
    let holds = |schedule: &Schedule| conditions.hold(Some(&tag(schedule)));
    let schedule = schedules.change(&input.path.id, &input.body.0, holds).await?;
    Ok(etag::json(HttpResponse::Ok(), &ScheduleView::from(&schedule)))
}

/// Deletes a schedule. The jobs that it has created stay, and what it has decided comes to its end.
#[utoipa::path(
    tag = "schedules",
    params(Input<SchedulePath, Empty, ChangeConditions>),
    responses((status = 204, description = "The schedule is deleted."), ChangeProblems),
)]
#[delete("/v1/schedules/{id}")]
async fn delete_schedule(
    input: Input<SchedulePath, Empty, ChangeConditions>,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let conditions = input.headers;
    schedules.delete(&input.path.id, |schedule| conditions.hold(Some(&tag(schedule)))).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn created(schedule: &Schedule) -> HttpResponse {
    let mut answer: HttpResponseBuilder = HttpResponse::Created();
    answer.insert_header((header::LOCATION, format!("/v1/schedules/{}", schedule.stored.id)));
    etag::json(answer, &ScheduleView::from(schedule))
}
