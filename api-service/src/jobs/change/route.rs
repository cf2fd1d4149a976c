//! The route.

use actix_web::{HttpRequest, HttpResponse, patch, web::Data};
use service_kit::Weigh;

use super::{
    super::{Lifecycle, problems::ChangeProblems, requests::JobPath, view::JobView},
    JobChange,
};
use crate::http::{
    Problem, answer,
    read::{Empty, Input, Json},
    room,
};

type ChangeJob = Input<JobPath, Empty, Empty, Json<JobChange>>;

/// Changes a job whose time has not come (RFC 7396).
///
/// What is not named stays. Its payload is merged too.
#[utoipa::path(
    tag = "jobs",
    params(ChangeJob),
    request_body(content(
        (JobChange = "application/json", example = json!({ "delay_s": 60, "priority": "high" })),
        (JobChange = "application/merge-patch+json"),
    )),
    responses(
        (status = 200, description = "The job is as asked for.", body = JobView<'static>),
        ChangeProblems,
    ),
)]
#[patch("/v1/jobs/{id}")]
pub(in super::super) async fn change_job(
    input: ChangeJob,
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let mut room = room::for_read(&request).await?;
    let job = lifecycle.change(input.path.id, &input.body.0).await?;
    room.shrink_to(job.weight());
    Ok(answer::json(HttpResponse::Ok(), &JobView::from(job.as_ref()), Some(room)))
}
