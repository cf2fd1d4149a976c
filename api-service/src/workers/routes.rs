//! `/v1/workers`.

use actix_web::{HttpResponse, get, post, web::Data};
use shared_events::broadcasts::{WorkerCommand, WorkerState};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    Workers,
    problems::{DrainProblems, ResumeProblems},
    requests::WorkerPath,
    view::{WorkerList, WorkerView},
};
use crate::http::{Problem, read::Input};

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(list_workers).service(drain_worker).service(resume_worker);
}

/// Lists the workers, those that have run longest first.
///
/// A worker is there within two seconds of its start, goes at once when it ends, and within 15 seconds of its death. While
/// NATS is away, the answer says how old it is.
#[utoipa::path(
    tag = "workers",
    responses((status = 200, description = "The workers.", body = WorkerList<'static>)),
)]
#[get("/v1/workers")]
async fn list_workers(_: Input, workers: Data<Workers>) -> HttpResponse {
    HttpResponse::Ok().json(WorkerList::from(&workers.snapshot()))
}

/// Has a worker take nothing new; what it runs comes to its end.
///
/// It stays so until it is told to resume, or ends. Asking again does no harm.
#[utoipa::path(
    tag = "workers",
    params(Input<WorkerPath>),
    responses(
        (status = 200, description = "It takes nothing new, and has nothing left.", body = WorkerView<'static>),
        (status = 202, description = "It takes nothing new, and has begun attempts that it makes.", body = WorkerView<'static>),
        DrainProblems,
    ),
)]
#[post("/v1/workers/{id}/drain")]
async fn drain_worker(input: Input<WorkerPath>, workers: Data<Workers>) -> Result<HttpResponse, Problem> {
    let seen = workers.tell(&input.path.id(), WorkerCommand::Drain).await?;
    let is_drained = seen.heartbeat.state == WorkerState::Drained;
    let mut answer = if is_drained { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    Ok(answer.json(WorkerView::from(&seen)))
}

/// Has a worker take runs again.
///
/// Asking again does no harm.
#[utoipa::path(
    tag = "workers",
    params(Input<WorkerPath>),
    responses(
        (status = 200, description = "It takes runs.", body = WorkerView<'static>),
        ResumeProblems,
    ),
)]
#[post("/v1/workers/{id}/resume")]
async fn resume_worker(input: Input<WorkerPath>, workers: Data<Workers>) -> Result<HttpResponse, Problem> {
    let seen = workers.tell(&input.path.id(), WorkerCommand::Resume).await?;
    Ok(HttpResponse::Ok().json(WorkerView::from(&seen)))
}
