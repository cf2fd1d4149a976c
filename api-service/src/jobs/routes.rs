//! `/v1/jobs`.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Data, Payload, ServiceConfig},
};
use shared_events::JobId;

use super::{Creator, Draft, Job, Jobs, view::JobView};
use crate::{
    http::{Context, get_or_head, method_not_allowed, read_fields},
    problem::{FieldError, Problem},
    waiters::Waiters,
};

/// The largest body of one job: its payload's 512 KiB and room for the rest.
const MAX_BODY: usize = 1 << 20;

/// The longest that a read waits for the end, in seconds.
const MAX_WAIT_S: u64 = 60;

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig) {
    app.service(
        web::resource("/v1/jobs").route(web::post().to(create)).default_service(method_not_allowed("POST")),
    )
    .service(
        web::resource("/v1/jobs/{id}")
            .route(get_or_head().to(read))
            .default_service(method_not_allowed("GET, HEAD")),
    );
}

async fn create(
    request: HttpRequest,
    creator: Data<Creator>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let fields = read_fields(&request, body, MAX_BODY).await?;
    let job = creator.create(Draft::read(fields)?, context.trace).await?;
    let location = format!("/v1/jobs/{}", job.job_id());
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(JobView::from(&job)))
}

/// With `?wait_s=n`, answers when the job has ended, or after n seconds with how far it is.
async fn read(
    request: HttpRequest,
    jobs: Data<Jobs>,
    waiters: Data<Waiters>,
) -> Result<HttpResponse, Problem> {
    let text = request.match_info().get("id").unwrap_or_default();
    let id: JobId = text.parse().map_err(|_| Problem::no_job(text))?;
    let wait = wait_of(request.query_string())?;
    let job = match wait {
        None => jobs.get(id).await?,
        Some(wait) => ended_within(&jobs, &waiters, id, wait).await?,
    };
    let job = job.ok_or_else(|| Problem::no_job(text))?;
    Ok(HttpResponse::Ok().json(JobView::from(&job)))
}

/// The job when it has ended, or as it is after `wait`.
async fn ended_within(
    jobs: &Jobs,
    waiters: &Waiters,
    id: JobId,
    wait: Duration,
) -> Result<Option<Job>, Problem> {
    // Interest is registered before reading, or an end between the two would be missed.
    let ended = waiters.ended(id);
    let job = jobs.get(id).await?;
    if job.as_ref().is_none_or(|job| job.status.is_terminal()) {
        return Ok(job);
    }
    // The news may be lost, so the answer is read again in any case.
    let _ = tokio::time::timeout(wait, ended.heard()).await;
    Ok(jobs.get(id).await?)
}

fn wait_of(query: &str) -> Result<Option<Duration>, Problem> {
    let wrong = |field: &str, message: &str| Problem::bad_parameter(FieldError::new(field, message));
    let mut wait = None;
    for (name, value) in query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        if name != "wait_s" {
            return Err(wrong(name, "is not a parameter of this request"));
        }
        let seconds = value.parse::<u64>().ok().filter(|seconds| *seconds <= MAX_WAIT_S);
        let seconds =
            seconds.ok_or_else(|| wrong("wait_s", "must be a whole number of seconds from 0 to 60"))?;
        wait = Some(Duration::from_secs(seconds));
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_limits_and_other_parameters_are_named() {
        assert_eq!(wait_of("").unwrap(), None);
        assert_eq!(wait_of("wait_s=60").unwrap(), Some(Duration::from_secs(60)));
        for query in ["wait_s=61", "wait_s=-1", "wait_s", "wait_s=1.5"] {
            assert_eq!(wait_of(query).unwrap_err().code(), "invalid_parameter", "{query}");
        }
        assert!(wait_of("page=2").unwrap_err().to_string().contains("page"));
    }
}
