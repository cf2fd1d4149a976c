//! `POST /v1/jobs/batch`: up to a thousand jobs in one request, each with an answer of its own.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;

use super::{Creator, Draft, create::Created, view::JobView};
use crate::{
    http::{Context, Fields, answer, read_json},
    problem::{FieldError, Problem},
};

/// The largest body of a batch, in bytes.
const MAX_BODY: usize = 16 << 20;

/// The most jobs of a batch.
const MOST: usize = 1000;

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
    let body = read_json(&request, body, MAX_BODY).await?;
    let drafts = drafts(body.fields()?)?;
    let room = body.into_room();
    let created = creator.create_all(drafts, context.trace).await?;
    Ok(answer::json_list("results", created, |created| answer::piece(&answer(&created)), "", room))
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

fn drafts(mut fields: Fields<'_>) -> Result<Vec<Result<Draft, Problem>>, Problem> {
    let jobs = fields.borrowed("jobs");
    fields.finish()?;
    let wrong = |message: String| Problem::invalid(vec![FieldError::new("jobs", message)]);
    let jobs = jobs.ok_or_else(|| wrong("is required".to_owned()))?;
    let List { items, length } =
        serde_json::from_str(jobs.get()).map_err(|_| wrong("must be a list".to_owned()))?;
    if !(1..=MOST).contains(&length) {
        return Err(wrong(format!("must be 1 to {MOST} jobs, not {length}")));
    }
    Ok(items.into_iter().map(|job| Fields::parse(job.get().as_bytes()).and_then(Draft::read)).collect())
}

/// A list, of which as many items are kept as a batch may have jobs.
struct List<'a> {
    items: Vec<&'a RawValue>,
    length: usize,
}

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = List<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
                let mut list = List { items: Vec::new(), length: 0 };
                while let Some(item) = seq.next_element::<&RawValue>()? {
                    list.length += 1;
                    if list.length <= MOST {
                        list.items.push(item);
                    }
                }
                Ok(list)
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
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
