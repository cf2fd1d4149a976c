//! `/v1/jobs`.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Data, Payload, ServiceConfig},
};
use service_kit::Weigh;
use shared_events::JobId;

use super::{
    Creator, Jobs, Lifecycle, NewJob, batch, bulk,
    create::Created,
    filter::PageRequest,
    idempotency::IdempotencyKey,
    problems::no_job,
    store::{EARLIER_BYTES, Load},
    view::{AttemptView, JobView},
};
use crate::http::{
    Context, Problem, Query, answer, expect_no_fields, get_or_head, method_not_allowed, read_json,
    read_optional_json, room,
};

/// The largest body of one job, in bytes: its payload's 512 KiB and room for the rest.
const MAX_BODY: usize = 1 << 20;

/// The longest that a read waits for the end, in seconds.
const MAX_WAIT_S: usize = 60;

/// The longest reason of a cancel, in bytes.
const MAX_REASON: usize = 1024;

const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig) {
    let post_only = || method_not_allowed("POST");
    let jobs = web::resource("/v1/jobs").route(web::post().to(create)).route(get_or_head().to(list));
    let job = web::resource("/v1/jobs/{id}").route(get_or_head().to(read)).route(web::delete().to(delete));
    app.service(jobs.default_service(method_not_allowed("GET, HEAD, POST")))
        .service(
            web::resource("/v1/jobs/batch").route(web::post().to(batch::create)).default_service(post_only()),
        )
        .service(
            web::resource("/v1/jobs/cancel").route(web::post().to(bulk::cancel)).default_service(post_only()),
        )
        .service(
            web::resource("/v1/jobs/retry").route(web::post().to(bulk::retry)).default_service(post_only()),
        )
        .service(job.default_service(method_not_allowed("DELETE, GET, HEAD")))
        .service(
            web::resource("/v1/jobs/{id}/cancel").route(web::post().to(cancel)).default_service(post_only()),
        )
        .service(
            web::resource("/v1/jobs/{id}/retry").route(web::post().to(retry)).default_service(post_only()),
        )
        .service(
            web::resource("/v1/jobs/{id}/attempts")
                .route(get_or_head().to(attempts))
                .default_service(method_not_allowed("GET, HEAD")),
        );
}

async fn create(
    request: HttpRequest,
    creator: Data<Creator>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    Query::expect_none(request.query_string())?;
    let key = IdempotencyKey::of_header(&request)?;
    let body = read_json(&request, body, MAX_BODY).await?;
    let new_job = NewJob::read(body.fields()?)?;
    let room = body.into_room();
    let created = creator.create(new_job, key, context.trace).await?;
    let (mut answer, job) = match &created {
        Created::New(job) => (HttpResponse::Created(), job),
        Created::Before(job) => (HttpResponse::Ok(), job),
    };
    if matches!(created, Created::Before(_)) {
        answer.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    answer.insert_header((header::LOCATION, format!("/v1/jobs/{}", job.job_id())));
    Ok(answer::json(answer, &JobView::from(job.as_ref()), room))
}

/// Payloads and results only where they are asked for; then a page also ends when its bytes are used.
async fn list(request: HttpRequest, jobs: Data<Jobs>) -> Result<HttpResponse, Problem> {
    let (wanted, shown) = PageRequest::read_list(request.query_string())?;
    let load = shown.load();
    let room = match load {
        Load::BRIEF => room::for_answer(&request, load.room()).await?,
        _ => Some(room::for_page(&request, load.room()).await?),
    };
    let page = jobs.page(&wanted, bson::Document::new(), load).await?;
    let next = page.next.map(|id| wanted.filter.token(id)).unwrap_or_default();
    // How many are left out, since only a newer version can read them.
    let unreadable = match page.unreadable {
        0 => String::new(),
        some => format!(",\"unreadable\":{some}"),
    };
    let rest = format!("{unreadable},\"next_page_token\":\"{next}\"");
    let to_json = |job| answer::piece(&JobView::from(&job));
    Ok(answer::json_list("jobs", page.jobs, to_json, &rest, room))
}

/// With `?wait_s=n`, answers when the job has ended, or after n seconds with how far it is.
async fn read(request: HttpRequest, lifecycle: Data<Lifecycle>) -> Result<HttpResponse, Problem> {
    let id = job_id(&request)?;
    let mut query = Query::parse(request.query_string())?;
    let wait = query.number("wait_s", 0..=MAX_WAIT_S)?;
    query.finish()?;
    if let Some(seconds) = wait {
        lifecycle.wait_until_ended(id, Duration::from_secs(seconds as u64)).await?;
    }
    let mut room = room::for_read(&request).await?;
    let job = lifecycle.get(id).await?;
    room.shrink_to(job.weight());
    Ok(answer::json(HttpResponse::Ok(), &JobView::from(&job), Some(room)))
}

async fn delete(request: HttpRequest, lifecycle: Data<Lifecycle>) -> Result<HttpResponse, Problem> {
    let id = job_id(&request)?;
    Query::expect_none(request.query_string())?;
    lifecycle.delete(id).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn cancel(
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&request)?;
    Query::expect_none(request.query_string())?;
    let reason = read_reason(&request, body).await?;
    lifecycle.cancel(id, reason.as_deref()).await?;
    let mut room = room::for_read(&request).await?;
    let job = lifecycle.get(id).await?;
    room.shrink_to(job.weight());
    let answer = if job.status.is_terminal() { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    Ok(answer::json(answer, &JobView::from(&job), Some(room)))
}

async fn retry(
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&request)?;
    Query::expect_none(request.query_string())?;
    expect_no_fields(&request, body).await?;
    let mut room = room::for_read(&request).await?;
    let job = lifecycle.retry(id).await?;
    room.shrink_to(job.weight());
    Ok(answer::json(HttpResponse::Accepted(), &JobView::from(job.as_ref()), Some(room)))
}

async fn attempts(
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    jobs: Data<Jobs>,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&request)?;
    Query::expect_none(request.query_string())?;
    let _room = room::for_page(&request, EARLIER_BYTES).await?;
    let job = lifecycle.get(id).await?;
    let earlier = if job.run > 1 { jobs.earlier_runs(job.id, job.run).await? } else { Vec::new() };
    let attempts = AttemptView::latest(&job, &earlier);
    Ok(HttpResponse::Ok().json(serde_json::json!({ "attempts": attempts })))
}

/// The optional body of a cancel: `{"reason": "…"}`.
pub(super) async fn read_reason(request: &HttpRequest, body: Payload) -> Result<Option<String>, Problem> {
    let Some(body) = read_optional_json(request, body, MAX_BODY).await? else { return Ok(None) };
    let mut fields = body.fields()?;
    let reason = fields.text("reason", 1..=MAX_REASON);
    fields.finish()?;
    Ok(reason)
}

fn job_id(request: &HttpRequest) -> Result<JobId, Problem> {
    let text = request.match_info().get("id").unwrap_or_default();
    text.parse().map_err(|_| no_job(text))
}
