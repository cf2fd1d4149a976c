//! `POST /v1/jobs/batch`: up to a thousand jobs in one request, each with an answer of its own.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::Serialize;
use shared_events::JsonText;

use super::{Creator, Draft, create::Created, view::JobView};
use crate::{
    http::{Context, Fields, read_fields},
    problem::{FieldError, Problem},
};

/// The largest body of a batch, in bytes.
const MAX_BODY: usize = 16 << 20;

/// The most jobs of a batch.
const MOST: usize = 1000;

#[derive(Serialize)]
struct Answers<'a> {
    results: Vec<Answer<'a>>,
}

/// What became of one job: its status is what a request of its own would have been answered.
#[derive(Serialize)]
struct Answer<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Problem>,
}

pub(super) async fn create(
    request: HttpRequest,
    creator: Data<Creator>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let drafts = drafts(read_fields(&request, body, MAX_BODY).await?)?;
    let created = creator.create_all(drafts, context.trace).await?;
    let results = created.iter().map(answer).collect();
    Ok(HttpResponse::Ok().json(Answers { results }))
}

fn answer(created: &Result<Created, Problem>) -> Answer<'_> {
    match created {
        Ok(Created::New(job)) => Answer { status: 201, job: Some(JobView::from(job.as_ref())), error: None },
        Ok(Created::Before(job)) => {
            Answer { status: 200, job: Some(JobView::from(job.as_ref())), error: None }
        }
        Err(problem) => Answer { status: problem.status(), job: None, error: Some(problem) },
    }
}

fn drafts(mut fields: Fields) -> Result<Vec<Result<Draft, Problem>>, Problem> {
    let jobs = fields.raw("jobs");
    fields.finish()?;
    let wrong = |message: String| Problem::invalid(vec![FieldError::new("jobs", message)]);
    let jobs = jobs.ok_or_else(|| wrong("is required".to_owned()))?;
    let jobs: Vec<JsonText> =
        serde_json::from_str(jobs.as_str()).map_err(|_| wrong("must be a list".to_owned()))?;
    if !(1..=MOST).contains(&jobs.len()) {
        return Err(wrong(format!("must be 1 to {MOST} jobs, not {}", jobs.len())));
    }
    Ok(jobs.iter().map(|job| Fields::parse(job.as_str().as_bytes()).and_then(Draft::read)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<Result<Draft, Problem>>, Problem> {
        drafts(Fields::parse(json.as_bytes())?)
    }

    #[test]
    fn one_bad_job_does_not_hinder_the_others() {
        let drafts =
            read(r#"{"jobs":[{"kind":"noop"},7,{"kind":"noop","queue":"NO"},{"kind":"noop"}]}"#).unwrap();
        let fine: Vec<bool> = drafts.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, false, true]);
    }

    #[test]
    fn a_batch_has_one_to_a_thousand_jobs() {
        let of =
            |count: usize| read(&format!(r#"{{"jobs":[{}]}}"#, vec![r#"{"kind":"noop"}"#; count].join(",")));
        assert!(of(0).is_err() && of(1).is_ok() && of(1000).is_ok() && of(1001).is_err());
    }
}
