//! `POST /v1/jobs/cancel` and `/v1/jobs/retry`: acting on all jobs that pass the list's filters.

use actix_web::{HttpRequest, HttpResponse, post, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Lifecycle,
    filter::{Filter, Filtered},
    lifecycle::Acted,
    problems::BulkRetryProblems,
    requests::{CancelBody, EmptyBody},
    store::Load,
};
use crate::http::{
    Problem,
    read::{Empty, Input, OptionalJson},
    room,
};

/// What one call did to how many jobs.
#[derive(Debug, Serialize, ToSchema)]
struct Progress {
    /// How many it left alone, since only a newer version can read them.
    unreadable: usize,
    /// Whether there may be more.
    more: bool,
    /// Where the next call goes on; empty where there is no more.
    next_page_token: String,
}

impl Progress {
    fn of(filter: &Filter, acted: &Acted) -> Self {
        let next_page_token = acted.next.map(|id| filter.token(id)).unwrap_or_default();
        Self { unreadable: acted.unreadable, more: !next_page_token.is_empty(), next_page_token }
    }
}

/// How far a bulk cancel is.
#[derive(Debug, Serialize, ToSchema)]
struct Cancelled {
    /// How many jobs were asked to stop.
    cancel_requested: u64,
    #[serde(flatten)]
    progress: Progress,
}

/// How far a bulk retry is.
#[derive(Debug, Serialize, ToSchema)]
struct Retried {
    /// How many jobs start their next run.
    retried: u64,
    #[serde(flatten)]
    progress: Progress,
}

type CancelJobs = Input<Empty, Filtered, Empty, OptionalJson<CancelBody>>;

/// Has up to 1,000 jobs cancelled that pass the filters and have not ended.
#[utoipa::path(
    tag = "jobs",
    params(CancelJobs),
    request_body = Option<CancelBody>,
    responses((status = 200, description = "How many, and where the next call goes on.", body = Cancelled)),
)]
#[post("/v1/jobs/cancel")]
pub(super) async fn cancel_jobs(
    input: CancelJobs,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let (filter, reason) = (input.query.filter.clone(), input.body.0.and_then(|body| body.reason));
    let _room = room::for_page(&request, Load::BRIEF.room()).await?;
    let acted = lifecycle.cancel_many(input.query, reason.as_deref()).await?;
    let (cancel_requested, progress) = (acted.count, Progress::of(&filter, &acted));
    Ok(HttpResponse::Ok().json(Cancelled { cancel_requested, progress }))
}

type RetryJobs = Input<Empty, Filtered, Empty, OptionalJson<EmptyBody>>;

/// Starts the next run of up to 1,000 ended jobs that pass the filters: without a `status`, of those that failed or were
/// cancelled; of no more than 4 MiB of them at once.
#[utoipa::path(
    tag = "jobs",
    params(RetryJobs),
    request_body = Option<EmptyBody>,
    responses(
        (status = 200, description = "How many, and where the next call goes on.", body = Retried),
        BulkRetryProblems,
    ),
)]
#[post("/v1/jobs/retry")]
pub(super) async fn retry_jobs(
    input: RetryJobs,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let filter = input.query.filter.clone();
    let _room = room::for_page(&request, Load::WHOLE.room()).await?;
    let acted = lifecycle.retry_many(input.query).await?;
    let (retried, progress) = (acted.count, Progress::of(&filter, &acted));
    Ok(HttpResponse::Ok().json(Retried { retried, progress }))
}
