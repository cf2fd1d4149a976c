//! `POST /v1/jobs/batch`: up to a thousand jobs in one request, each with an answer of its own.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;

use super::{
    Creator, IdempotencyKey, NewJob,
    create::{Created, Member},
    view::JobView,
};
use crate::http::{Context, FieldError, Fields, Problem, Query, answer, read_json};

/// The largest body of a batch, in bytes.
const MAX_BODY: usize = 16 << 20;

/// The most jobs of a batch.
const MOST: usize = 1000;

/// The field of a job's own key.
const KEY: &str = "idempotency_key";

/// What became of one job: its status is what a request of its own would have been answered.
#[derive(Serialize)]
struct Answer<'a> {
    status: u16,
    /// Its key was used before, for the same job: this is the first one, without its payload and result.
    #[serde(skip_serializing_if = "is_false")]
    replayed: bool,
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
    Query::expect_none(request.query_string())?;
    let key = IdempotencyKey::of_header(&request)?;
    let body = read_json(&request, body, MAX_BODY).await?;
    let members = members(body.fields()?, key.as_ref())?;
    let room = body.into_room();
    let created = creator.create_all(members, context.trace).await?;
    Ok(answer::json_list("results", created, |created| answer::piece(&answer(&created)), "", room))
}

fn answer(created: &Result<Created, Problem>) -> Answer<'_> {
    let of = |status, replayed, job| Answer { status, replayed, job: Some(job), error: None };
    match created {
        Ok(Created::New(job)) => of(201, false, JobView::from(job.as_ref())),
        Ok(Created::Before(job)) => of(200, true, JobView::from(job.as_ref())),
        Err(problem) => Answer { status: problem.status(), replayed: false, job: None, error: Some(problem) },
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(it: &bool) -> bool {
    !*it
}

/// The batch's jobs. `header` is the key that came with the batch: each job's is made of it and of the job's
/// place, and then none may bring its own.
fn members(
    mut fields: Fields<'_>,
    header: Option<&IdempotencyKey>,
) -> Result<Vec<Result<Member, Problem>>, Problem> {
    let jobs = fields.borrowed("jobs");
    fields.finish()?;
    let wrong = |message: String| Problem::invalid(vec![FieldError::new("jobs", message)]);
    let jobs = jobs.ok_or_else(|| wrong("is required".to_owned()))?;
    let List { items, length } =
        serde_json::from_str(jobs.get()).map_err(|_| wrong("must be a list".to_owned()))?;
    if !(1..=MOST).contains(&length) {
        return Err(wrong(format!("must be 1 to {MOST} jobs, not {length}")));
    }
    let (mut members, mut with_both) = (Vec::with_capacity(length), Vec::new());
    for (index, job) in items.into_iter().enumerate() {
        let fields = Fields::parse(job.get().as_bytes());
        if header.is_some() && fields.as_ref().is_ok_and(|fields| fields.has(KEY)) {
            let message = "must not be given beside the header Idempotency-Key";
            with_both.push(FieldError::new(format!("jobs.{index}.{KEY}"), message));
        }
        members.push(fields.and_then(|fields| member(fields, header.map(|header| header.of_member(index)))));
    }
    if with_both.is_empty() { Ok(members) } else { Err(Problem::invalid(with_both)) }
}

/// One of them; with its own key where the batch gives it none.
fn member(mut fields: Fields<'_>, key: Option<IdempotencyKey>) -> Result<Member, Problem> {
    let own = fields.parsed(KEY);
    Ok(Member { new_job: NewJob::read(fields)?, key: key.or(own) })
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

    fn read(json: &str, header: Option<&str>) -> Result<Vec<Result<Member, Problem>>, Problem> {
        let header = header.map(|key| key.parse().unwrap());
        members(Fields::parse(json.as_bytes())?, header.as_ref())
    }

    fn keys(members: &[Result<Member, Problem>]) -> Vec<Option<String>> {
        let key =
            |member: &Result<Member, Problem>| member.as_ref().ok()?.key.as_ref().map(ToString::to_string);
        members.iter().map(key).collect()
    }

    #[test]
    fn one_bad_job_does_not_hinder_the_others() {
        let members = read(
            r#"{"jobs":[{"kind":"noop"},7,{"kind":"noop","queue":"NO"},{"kind":"noop","idempotency_key":""},{"kind":"noop"}]}"#,
            None,
        );
        let fine: Vec<bool> = members.unwrap().iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, false, false, true]);
    }

    #[test]
    fn a_batch_has_one_to_a_thousand_jobs() {
        let of = |count: usize| {
            read(&format!(r#"{{"jobs":[{}]}}"#, vec![r#"{"kind":"noop"}"#; count].join(",")), None)
        };
        assert!(of(0).is_err() && of(1).is_ok() && of(1000).is_ok() && of(1001).is_err());
    }

    #[test]
    fn a_key_is_a_jobs_own_or_the_headers_and_not_both() {
        let some = |key: &str| Some(key.to_owned());
        let own = r#"{"jobs":[{"kind":"noop","idempotency_key":"a"},{"kind":"noop"}]}"#;
        assert_eq!(keys(&read(own, None).unwrap()), [some("a"), None]);
        let none = r#"{"jobs":[{"kind":"noop"},{"kind":"noop"}]}"#;
        assert_eq!(keys(&read(none, Some("b")).unwrap()), [some("b:0"), some("b:1")]);
        assert_eq!(read(own, Some("b")).unwrap_err().code(), "invalid_field");
    }
}
