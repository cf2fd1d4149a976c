//! `/v1/jobs`.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, delete, get,
    http::header::{self, HeaderName},
    post,
    web::Data,
};
use service_kit::{Reservation, Weigh};
use shared_events::JobId;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    Creator, Jobs, Lifecycle, NewJob, batch, bulk, change,
    create::Created,
    filter::{ListQuery, Shape},
    model::Job,
    problems::{CancelProblems, CreateProblems, DeleteProblems, ReadProblems, RetryProblems},
    requests::{CancelBody, EmptyBody, JobPath, KeyHeader, PreferHeader, Wait, WaitQuery},
    store::{EARLIER_BYTES, Load},
    view::{AttemptList, AttemptView, JobList, JobView},
};
use crate::http::{
    Problem, answer,
    etag::{Conditional, ConditionalHeader},
    read::{Both, Empty, Input, Json, OptionalJson},
    room,
};
use crate::idempotency::IDEMPOTENT_REPLAYED;
use crate::live::Progresses;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_job)
        .service(list_jobs)
        .service(batch::create_jobs)
        .service(bulk::cancel_jobs)
        .service(bulk::retry_jobs)
        .service(get_job)
        .service(change::change_job)
        .service(delete_job)
        .service(cancel_job)
        .service(retry_job)
        .service(list_attempts);
}

type CreateJob = Input<Empty, WaitQuery, Both<KeyHeader, PreferHeader>, Json<NewJob>>;

/// Creates a job.
///
/// A 201 says that it is stored, journaled, and will run. With `wait_s` or `Prefer: wait` the answer comes when the job has
/// ended, or after that time with how far it is.
#[utoipa::path(
    tag = "jobs",
    params(CreateJob),
    request_body(content = NewJob, example = json!({ "kind": "shuffle", "payload": { "text": "hasty", "pause_s": 0 } })),
    responses(
        (status = 201, description = "The job is stored.", body = JobView<'static>, headers(
            ("Location" = String, description = "The job's path."),
            ("Preference-Applied" = Option<String>, description = "The wait that was asked for by `Prefer`."),
        )),
        (status = 200, description = "The job that the same request has created before.", body = JobView<'static>, headers(
            ("Location" = String, description = "The job's path."),
            ("Idempotent-Replayed" = String, description = "`true`"),
            ("Preference-Applied" = Option<String>, description = "The wait that was asked for by `Prefer`."),
        )),
        CreateProblems,
    ),
)]
#[post("/v1/jobs")]
async fn create_job(
    input: CreateJob,
    request: HttpRequest,
    creator: Data<Creator>,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let Both(KeyHeader { idempotency_key }, prefer) = input.headers;
    let wait = Wait::of(&input.query, &prefer);
    let created = creator.create(input.body.0, idempotency_key, input.context.trace).await?;
    let (mut answer, job) = match &created {
        Created::New(job) => (HttpResponse::Created(), job),
        Created::Before(job) => (HttpResponse::Ok(), job),
    };
    if matches!(created, Created::Before(_)) {
        answer.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    let id = job.job_id();
    answer.insert_header((header::LOCATION, format!("/v1/jobs/{id}")));
    if wait.at_most.is_some() {
        // It is stored: whatever the waiting meets, that is what the answer says.
        if let Ok((later, room)) = read_later(&request, &lifecycle, id, wait).await {
            say_preference(&mut answer, wait);
            return Ok(answer::json(answer, &JobView::from(&later), Some(room)));
        }
    }
    Ok(answer::json(answer, &JobView::from(job.as_ref()), input.room))
}

/// Lists jobs, newest first.
///
/// `payload` and `result` are left out unless `fields` names them. An empty `next_page_token` is the only end.
#[utoipa::path(
    tag = "jobs",
    params(Input<Empty, ListQuery>),
    responses((status = 200, description = "A page of jobs.", body = JobList<'static>)),
)]
#[get("/v1/jobs")]
async fn list_jobs(
    input: Input<Empty, ListQuery>,
    request: HttpRequest,
    jobs: Data<Jobs>,
) -> Result<HttpResponse, Problem> {
    let Both(filtered, shape) = input.query;
    let load = shape.load();
    let room = match load {
        Load::BRIEF => room::for_answer(&request, load.room()).await?,
        _ => Some(room::for_page(&request, load.room()).await?),
    };
    let Shape { page_size, .. } = shape;
    let wanted = filtered.page(page_size.get() as usize);
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

type GetJob = Input<JobPath, WaitQuery, Both<ConditionalHeader, PreferHeader>>;

/// Shows a job.
///
/// With `wait_s` or `Prefer: wait` the answer comes when its latest run has ended, or after that time with how far it is.
#[utoipa::path(
    tag = "jobs",
    params(GetJob),
    responses(
        (status = 200, description = "The job.", body = JobView<'static>, headers(
            ("ETag" = String, description = "Names this state of the job, for `If-None-Match`."),
            ("Preference-Applied" = Option<String>, description = "The wait that was asked for by `Prefer`."),
        )),
        (status = 304, description = "The job is as `If-None-Match` has it.", headers(
            ("ETag" = String, description = "Names this state of the job."),
        )),
        ReadProblems,
    ),
)]
#[get("/v1/jobs/{id}")]
async fn get_job(
    input: GetJob,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    progresses: Data<Progresses>,
) -> Result<HttpResponse, Problem> {
    let Both(conditional, prefer) = input.headers;
    let wait = Wait::of(&input.query, &prefer);
    let (job, room) = read_later(&request, &lifecycle, input.path.id, wait).await?;
    let mut answer = HttpResponse::Ok();
    say_preference(&mut answer, wait);
    let view = JobView::from(&job).with_progress(progresses.of(&job));
    Ok(Conditional::of(conditional).json(answer, &view, Some(room)))
}

/// Deletes a job that has ended, with all its runs.
#[utoipa::path(
    tag = "jobs",
    params(Input<JobPath>),
    responses((status = 204, description = "The job is deleted."), DeleteProblems),
)]
#[delete("/v1/jobs/{id}")]
async fn delete_job(input: Input<JobPath>, lifecycle: Data<Lifecycle>) -> Result<HttpResponse, Problem> {
    lifecycle.delete(input.path.id).await?;
    Ok(HttpResponse::NoContent().finish())
}

type CancelJob = Input<JobPath, Empty, Empty, OptionalJson<CancelBody>>;

/// Has a job cancelled.
#[utoipa::path(
    tag = "jobs",
    params(CancelJob),
    request_body = Option<CancelBody>,
    responses(
        (status = 200, description = "It has ended within a second.", body = JobView<'static>),
        (status = 202, description = "It is asked for.", body = JobView<'static>),
        CancelProblems,
    ),
)]
#[post("/v1/jobs/{id}/cancel")]
async fn cancel_job(
    input: CancelJob,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let (id, reason) = (input.path.id, input.body.0.and_then(|body| body.reason));
    lifecycle.cancel(id, reason.as_deref()).await?;
    let (job, room) = read(&request, &lifecycle, id).await?;
    let answer = if job.status.is_terminal() { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    Ok(answer::json(answer, &JobView::from(&job), Some(room)))
}

type RetryJob = Input<JobPath, Empty, Empty, OptionalJson<EmptyBody>>;

/// Starts the next run of a job that has ended.
#[utoipa::path(
    tag = "jobs",
    params(RetryJob),
    request_body = Option<EmptyBody>,
    responses(
        (status = 202, description = "The next run waits for a worker.", body = JobView<'static>),
        RetryProblems,
    ),
)]
#[post("/v1/jobs/{id}/retry")]
async fn retry_job(
    input: RetryJob,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let mut room = room::for_read(&request).await?;
    let job = lifecycle.retry(input.path.id).await?;
    room.shrink_to(job.weight());
    Ok(answer::json(HttpResponse::Accepted(), &JobView::from(job.as_ref()), Some(room)))
}

/// Lists a job's attempts: those of every run that is kept, the latest last; at most 100.
#[utoipa::path(
    tag = "jobs",
    params(Input<JobPath>),
    responses((status = 200, description = "The attempts.", body = AttemptList<'static>), ReadProblems),
)]
#[get("/v1/jobs/{id}/attempts")]
async fn list_attempts(
    input: Input<JobPath>,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    jobs: Data<Jobs>,
) -> Result<HttpResponse, Problem> {
    let _room = room::for_page(&request, EARLIER_BYTES).await?;
    let job = lifecycle.get(input.path.id).await?;
    let earlier = if job.run > 1 { jobs.earlier_runs(job.id, job.run).await? } else { Vec::new() };
    Ok(HttpResponse::Ok().json(AttemptList { attempts: AttemptView::latest(&job, &earlier) }))
}

/// The job, once it has ended or was waited for as long as that.
async fn read_later(
    request: &HttpRequest,
    lifecycle: &Lifecycle,
    id: JobId,
    wait: Wait,
) -> Result<(Job, Reservation), Problem> {
    if let Some(at_most) = wait.at_most {
        lifecycle.wait_until_ended(id, at_most).await?;
    }
    read(request, lifecycle, id).await
}

async fn read(
    request: &HttpRequest,
    lifecycle: &Lifecycle,
    id: JobId,
) -> Result<(Job, Reservation), Problem> {
    let mut room = room::for_read(request).await?;
    let job = lifecycle.get(id).await?;
    room.shrink_to(job.weight());
    Ok((job, room))
}

fn say_preference(answer: &mut HttpResponseBuilder, wait: Wait) {
    if let Some(seconds) = wait.preference_s {
        answer.insert_header((PREFERENCE_APPLIED, format!("wait={seconds}")));
    }
}
