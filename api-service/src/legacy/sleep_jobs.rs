//! The older system's routes, whose clients go on working unchanged: `POST /` and `GET /{job_id}`.
//! Their jobs are of kind `sleep`.

use actix_web::{
    HttpRequest, HttpResponse,
    guard::{self, GuardContext},
    web::{self, Data, Payload, ServiceConfig},
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::json;
use shared_events::{JobId, JsonText, Kind, Status};

use crate::{
    http::{Context, Fields, Problem, get_or_head, method_not_allowed, read_body},
    jobs::{CreateError, Created, Creator, Job, Jobs, MAX_OBJECT_ID, NewJob},
};

const MAX_BODY: usize = 64 * 1024;

/// First segments of paths that are not the older system's.
const NOT_THEIRS: [&str; 2] = ["v1", "health"];

/// Whether a path of one segment is the older system's. An encoded slash makes no segment, but whoever sent it has
/// meant one.
fn is_theirs(context: &GuardContext<'_>) -> bool {
    let path = percent_decode_str(context.head().uri.path()).decode_utf8_lossy().to_lowercase();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !NOT_THEIRS.contains(&first)
}

/// Adds the routes; last, since the second matches any single path segment.
pub(super) fn configure(app: &mut ServiceConfig) {
    app.service(web::resource("/").route(web::post().to(create)).default_service(method_not_allowed("POST")))
        .service(
            web::resource("/{job_id}")
                .guard(guard::fn_guard(is_theirs))
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
    let body = read_body(&request, body, MAX_BODY).await?;
    let Some(object_id) = object_id(&body) else {
        return Ok(HttpResponse::BadRequest().json(json!({ "message": "you must provide an object_id" })));
    };
    match creator.create(new_job(object_id)?, None, context.trace).await {
        Ok(Created::New(job) | Created::Before(job)) => {
            Ok(HttpResponse::Created().json(json!({ "message": { "job_id": job.job_id() } })))
        }
        Err(CreateError::DuplicateObject { .. }) => Ok(HttpResponse::BadRequest()
            .json(json!({ "message": "you need to wait 5 minutes before rerunning the same job" }))),
        Err(error) => Err(error.into()),
    }
}

async fn read(request: HttpRequest, jobs: Data<Jobs>) -> Result<HttpResponse, Problem> {
    let text = request.match_info().get("job_id").unwrap_or_default();
    let job = match text.parse::<JobId>() {
        Ok(id) => jobs.get(id).await?,
        Err(_) => None,
    };
    Ok(match job {
        Some(job) => HttpResponse::Ok().json(json!({ "message": OldView::from(&job) })),
        None => HttpResponse::NotFound().json(json!({ "message": format!("no job with id: {text}") })),
    })
}

/// The older system took any object that has the field.
fn object_id(body: &[u8]) -> Option<String> {
    let mut fields = Fields::parse(body).ok()?;
    fields.text("object_id", 1..=MAX_OBJECT_ID)
}

fn new_job(object_id: String) -> Result<NewJob, Problem> {
    let kind: Kind = "sleep".parse().map_err(|_| Problem::no_path())?;
    Ok(NewJob { object_id: Some(object_id), ..NewJob::new(kind, JsonText::empty_object()) })
}

/// A job as the older system showed it.
#[derive(Debug, Serialize)]
struct OldView<'a> {
    job_id: JobId,
    object_id: Option<&'a str>,
    status: &'static str,
    /// Of creation, in Unix seconds.
    timestamp: i64,
    /// In seconds; 0 until finished.
    sleep_time_used: serde_json::Number,
}

impl<'a> From<&'a Job> for OldView<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            job_id: job.job_id(),
            object_id: job.object_id.as_deref(),
            status: match job.status {
                Status::Queued | Status::Running => "processing",
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
