//! The older system's routes, whose clients go on working unchanged: `POST /` and `GET /{job_id}`.
//! Their jobs are of kind `sleep`.

use actix_web::{
    HttpRequest, HttpResponse, get, post,
    web::{Data, Payload},
};
use serde::Serialize;
use serde_json::json;
use shared_events::{JobId, JsonText, Kind, Status};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::Message;
use crate::{
    http::{
        Context, Problem,
        read::{FieldValue, Fields},
        read_body,
    },
    jobs::{CreateError, Created, Creator, Job, Jobs, NewJob, ObjectId},
};

const MAX_BODY: usize = 64 * 1024;

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_sleep_job).service(get_sleep_job);
}

/// What the older system's clients send.
#[derive(ToSchema)]
#[schema(as = SleepJobRequest)]
#[allow(dead_code, reason = "describes what is read as leniently as the older system did")]
struct Request {
    /// What the job is about.
    #[schema(inline)]
    object_id: ObjectId,
}

/// The id of a new job.
#[derive(Serialize, ToSchema)]
struct NewId {
    job_id: JobId,
}

/// Creates a job of kind `sleep`.
#[utoipa::path(
    tag = "older clients",
    request_body = Request,
    responses(
        (status = 201, description = "The job is stored.", body = Message<NewId>),
        (status = 400, description = "There is no `object_id`, or it had a job within five minutes.",
            body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/jobs"))),
)]
#[post("/")]
async fn create_sleep_job(
    request: HttpRequest,
    creator: Data<Creator>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let body = read_body(&request, body.into_inner(), MAX_BODY).await?;
    let told = |message: &str| HttpResponse::BadRequest().json(json!({ "message": message }));
    let Some(object_id) = object_id(&body) else { return Ok(told("you must provide an object_id")) };
    match creator.create(new_job(object_id)?, None, context.trace).await {
        Ok(Created::New(job) | Created::Before(job)) => {
            let message = NewId { job_id: job.job_id() };
            Ok(HttpResponse::Created().json(Message { message }))
        }
        Err(CreateError::DuplicateObject { .. }) => {
            Ok(told("you need to wait 5 minutes before rerunning the same job"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Which job.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes what is read as leniently as the older system did")]
struct JobPath {
    /// The job's id.
    job_id: String,
}

/// Shows a job as the older system did.
#[utoipa::path(
    tag = "older clients",
    params(JobPath),
    responses(
        (status = 200, description = "The job.", body = Message<OldView<'static>>),
        (status = 404, description = "There is no such job.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/jobs"))),
)]
#[get("/{job_id}")]
async fn get_sleep_job(request: HttpRequest, jobs: Data<Jobs>) -> Result<HttpResponse, Problem> {
    let text = request.match_info().get("job_id").unwrap_or_default();
    let job = match text.parse::<JobId>() {
        Ok(id) => jobs.get(id).await?,
        Err(_) => None,
    };
    Ok(match job {
        Some(job) => HttpResponse::Ok().json(Message { message: OldView::from(&job) }),
        None => HttpResponse::NotFound().json(Message { message: format!("no job with id: {text}") }),
    })
}

/// The older system took any object that has the field.
fn object_id(body: &[u8]) -> Option<ObjectId> {
    let mut fields = Fields::of_json(body).ok()?;
    ObjectId::from_json(fields.json("object_id")?).ok()
}

fn new_job(object_id: ObjectId) -> Result<NewJob, Problem> {
    let kind: Kind = "sleep".parse().map_err(|_| Problem::no_path())?;
    Ok(NewJob { object_id: Some(object_id), ..NewJob::new(kind, JsonText::empty_object()) })
}

/// A job as the older system showed it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SleepJob)]
struct OldView<'a> {
    job_id: JobId,
    /// What it is about; empty for a job that the newer API created without one.
    object_id: &'a str,
    /// `processing`, `finished` or `cancelled`.
    status: &'static str,
    /// Of creation, in Unix seconds.
    timestamp: i64,
    /// In seconds; 0 until finished.
    #[schema(value_type = f64)]
    sleep_time_used: serde_json::Number,
}

impl<'a> From<&'a Job> for OldView<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            job_id: job.job_id(),
            object_id: job.object_id.as_deref().unwrap_or_default(),
            status: match job.status {
                Status::Scheduled | Status::Queued | Status::Running => "processing",
                Status::Finished => "finished",
                Status::Failed | Status::Cancelled => "cancelled",
            },
            timestamp: job.created_at.timestamp_millis().div_euclid(1000),
            sleep_time_used: slept(job).unwrap_or_else(|| 0.into()),
        }
    }
}

fn slept(job: &Job) -> Option<serde_json::Number> {
    let result: serde_json::Value = serde_json::from_str(job.result.as_deref()?).ok()?;
    match result.get("slept_s") {
        Some(serde_json::Value::Number(slept)) => Some(slept.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_is_a_text_that_is_there() {
        assert_eq!(object_id(br#"{"object_id":"a","more":1}"#).as_deref(), Some("a"));
        for body in [
            "",
            "[]",
            "{}",
            "nonsense",
            r#"{"object_id":""}"#,
            r#"{"object_id":null}"#,
            r#"{"object_id":{}}"#,
        ] {
            assert_eq!(object_id(body.as_bytes()), None, "{body}");
        }
    }
}
