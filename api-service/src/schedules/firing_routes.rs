//! What schedules are due at, what has become of it, and having them fire: `/v1/schedules/{id}/…`.

use actix_web::{HttpRequest, HttpResponse, get, post, web::Data};
use shared_events::Timestamp;

use super::{
    Firing, FiringStatus, Schedules,
    filter::{FiringFilter, ListFilter, ListQuery},
    problems::{BackfillProblems, FiringProblems},
    requests::{Backfill, CountQuery, PreviewBody, SchedulePath, TriggerHeader},
    routes::rest_of_list,
    view::{Backfilled, FiringList, FiringView, NextTimes, Preview},
};
use crate::{
    http::{
        Problem, answer,
        read::{Empty, Input, Json},
        room,
    },
    idempotency::IDEMPOTENT_REPLAYED,
    jobs::timestamp,
};

/// About how many bytes a firing takes in a list: as it is read, and as it is shown.
const FIRING_BYTES: usize = 2 << 10;

type PreviewSchedule = Input<Empty, CountQuery, Empty, Json<PreviewBody>>;

/// Says what a rule means, and when it would be due. Nothing is stored.
#[utoipa::path(
    tag = "schedules",
    params(PreviewSchedule),
    request_body(content = PreviewBody, example = json!({ "cron": "30 2 * * MON", "time_zone": "Europe/Berlin" })),
    responses((status = 200, description = "What it means.", body = Preview)),
)]
#[post("/v1/schedules/preview")]
pub(super) async fn preview_schedule(
    input: PreviewSchedule,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let rule = input.body.0.0;
    let now = timestamp(schedules.store().now());
    let since = input.query.after.unwrap_or(now);
    let times = next_of(since, &input.query, |after| rule.next_due(since, after));
    let fixed_times = rule.cron.as_ref().map(super::times::Expression::is_fixed);
    Ok(HttpResponse::Ok().json(Preview { meaning: rule.words(), fixed_times, times }))
}

fn next_of(
    after: Timestamp,
    query: &CountQuery,
    next: impl Fn(Timestamp) -> Option<Timestamp>,
) -> Vec<Timestamp> {
    std::iter::successors(next(after), |last| next(*last)).take(query.count.get() as usize).collect()
}

/// Lists the next times at which a schedule is due.
#[utoipa::path(
    tag = "schedules",
    params(Input<SchedulePath, CountQuery>),
    responses((status = 200, description = "The times.", body = NextTimes), FiringProblems),
)]
#[get("/v1/schedules/{id}/next")]
pub(super) async fn next_times(
    input: Input<SchedulePath, CountQuery>,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let schedule = schedules.get(&input.path.id).await?;
    let after = input.query.after.unwrap_or_else(|| timestamp(schedules.store().now()));
    let times = next_of(after, &input.query, |after| schedule.rule.next_due(schedule.since(), after));
    Ok(HttpResponse::Ok().json(NextTimes { times }))
}

type ListFirings = Input<SchedulePath, ListQuery<FiringFilter>>;

/// Lists what was decided for a schedule's due times, and for requests; the latest due first.
///
/// An empty `next_page_token` is the only end.
#[utoipa::path(
    tag = "schedules",
    params(ListFirings),
    responses((status = 200, description = "A page of firings.", body = FiringList), FiringProblems),
)]
#[get("/v1/schedules/{id}/firings")]
pub(super) async fn list_firings(
    input: ListFirings,
    request: HttpRequest,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let ListQuery { filter, after, size } = input.query;
    let room = room::for_answer(&request, size * FIRING_BYTES).await?;
    let uid = schedules.get(&input.path.id).await?.stored.uid;
    let page = schedules.store().firing_page(uid, &filter, after.as_ref(), size).await?;
    let next = page.next.map(|after| filter.token(&after)).unwrap_or_default();
    let rest = rest_of_list(page.unreadable, &next);
    let to_json = |firing: Firing| answer::piece(&FiringView::from(firing));
    Ok(answer::json_list("firings", page.firings, to_json, &rest, room))
}

type TriggerSchedule = Input<SchedulePath, Empty, TriggerHeader>;

/// Has a schedule fire now, whatever its times and limits say.
///
/// The same `Idempotency-Key` again finds what it has led to.
#[utoipa::path(
    tag = "schedules",
    params(TriggerSchedule),
    responses(
        (status = 201, description = "Its job is stored.", body = FiringView),
        (status = 202, description = "It is decided; its job will be there as soon as there is room for it.", body = FiringView),
        (status = 200, description = "What the same key has led to.", body = FiringView, headers(
            ("Idempotent-Replayed" = String, description = "`true`"),
        )),
        FiringProblems,
    ),
)]
#[post("/v1/schedules/{id}/trigger")]
pub(super) async fn trigger_schedule(
    input: TriggerSchedule,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let (key, request_id) = (input.headers.idempotency_key, input.context.request_id);
    let (firing, is_before) = schedules.trigger(&input.path.id, key, request_id).await?;
    let mut answer = match firing.status {
        _ if is_before => HttpResponse::Ok(),
        FiringStatus::Decided => HttpResponse::Accepted(),
        _ => HttpResponse::Created(),
    };
    if is_before {
        answer.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    Ok(answer.json(FiringView::from(firing)))
}

type BackfillSchedule = Input<SchedulePath, Empty, Empty, Json<Backfill>>;

/// Has a schedule fire for the due times of a span that have not fired: they were missed or skipped, or it was paused, or not
/// there yet. Its limits hold. The span may have a thousand due times.
#[utoipa::path(
    tag = "schedules",
    params(BackfillSchedule),
    request_body(content = Backfill),
    responses((status = 202, description = "It is decided.", body = Backfilled), BackfillProblems),
)]
#[post("/v1/schedules/{id}/backfill")]
pub(super) async fn backfill_schedule(
    input: BackfillSchedule,
    schedules: Data<Schedules>,
) -> Result<HttpResponse, Problem> {
    let Backfill { from, to } = input.body.0;
    let done = schedules.backfill(&input.path.id, (from, to), &input.context.request_id).await?;
    Ok(HttpResponse::Accepted().json(done))
}
