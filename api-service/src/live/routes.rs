//! `/v1/jobs/{id}/logs`.

use actix_web::{HttpRequest, HttpResponse, get, web::Data};
use serde::Serialize;
use shared_events::live::LogLine;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{Logs, problems::LogProblems, requests::LogQuery};
use crate::{
    http::{Problem, read::Input, room},
    jobs::{JobPath, Lifecycle},
};

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(show_logs);
}

/// The last lines of a log.
#[derive(Debug, Serialize, ToSchema)]
struct JobLogs {
    /// Which run it is of.
    run: u32,
    /// Which attempt of that run; 0 where there was none yet.
    attempt: u32,
    /// The latest last.
    lines: Vec<LogLine>,
}

/// Shows the last lines that a job's latest attempt has logged.
///
/// While it is made, its worker is asked, which keeps the last thousand lines, 64 KiB at most. Of an attempt that has ended
/// these are the lines that its program wrote, its standard output first.
#[utoipa::path(
    tag = "jobs",
    params(Input<JobPath, LogQuery>),
    responses((status = 200, description = "The lines.", body = JobLogs), LogProblems),
)]
#[get("/v1/jobs/{id}/logs")]
async fn show_logs(
    input: Input<JobPath, LogQuery>,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    logs: Data<Logs>,
) -> Result<HttpResponse, Problem> {
    let _room = room::for_read(&request).await?;
    let job = lifecycle.get(input.path.id).await?;
    let lines = logs.tail(&job, input.query.tail.get()).await?;
    Ok(HttpResponse::Ok().json(JobLogs { run: job.run, attempt: job.attempt, lines }))
}
