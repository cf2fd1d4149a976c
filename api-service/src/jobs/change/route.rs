//! The route.

use actix_web::{HttpRequest, HttpResponse, patch, web::Data};
use service_kit::Weigh;

use super::{
    super::{Job, Lifecycle, problems::ChangeProblems, requests::JobPath, view::JobView},
    JobChange,
};
use crate::http::{
    Problem,
    etag::{self, ChangeConditions, Tag},
    read::{Empty, Input, Json},
    room,
};

type ChangeJob = Input<JobPath, Empty, ChangeConditions, Json<JobChange>>;

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
        (status = 200, description = "The job is as asked for.", body = JobView<'static>, headers(
            ("ETag" = String, description = "Names this state of the job."),
        )),
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
    let conditions = input.headers;
    // A job whose time has not come has no progress, so this is the tag that it is shown with.
    let holds = |job: &Job| conditions.hold(Some(&Tag::of(&JobView::from(job))));
    let job = lifecycle.change(input.path.id, &input.body.0, holds).await?;
    room.shrink_to(job.weight());
    Ok(etag::json_within(HttpResponse::Ok(), &JobView::from(job.as_ref()), Some(room)))
}
