//! `POST /v1/jobs/batch`: up to a thousand jobs in one request, each with an answer of its own.

use std::borrow::Cow;

use actix_web::{HttpResponse, post, web::Data};
use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{
    Creator, NewJob,
    create::{Created, Member},
    requests::KeyHeader,
    view::JobView,
};
use crate::http::{
    Problem, answer,
    problem::{ProblemView, types::INVALID_FIELD},
    read::{
        Both, Empty, FieldValue, Fields, Input, Json, JsonBody, Mistake, MistakeCode, Mistakes, Place,
        ReadFields,
    },
};
use crate::idempotency::IdempotencyKey;

/// The most jobs of a batch.
const MAX_JOBS: usize = 1000;

/// The field of a job's own key.
const KEY: &str = "idempotency_key";

/// Jobs that are created together.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = NewJobs)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    /// The jobs; each may have an `idempotency_key` of its own, where the batch comes without the header.
    #[schema(value_type = Vec<BatchMember>, min_items = 1, max_items = 1000)]
    jobs: Members,
}

impl JsonBody for BatchBody {
    const MAX_BYTES: usize = 16 << 20;
}

/// One job of a batch: the fields of a new job, and its key.
type MemberFields = Both<NewJob, MemberKey>;

#[derive(Debug, ReadFields)]
struct MemberKey {
    idempotency_key: Option<IdempotencyKey>,
}

/// The jobs of a batch: one that is wrong does not hinder the others.
#[derive(Debug)]
struct Members(Vec<MemberRead>);

#[derive(Debug)]
struct MemberRead {
    has_key: bool,
    read: Result<MemberFields, Mistakes>,
}

impl MemberRead {
    fn of(json: &RawValue) -> Self {
        let mut fields = match Fields::of_json(json.get().as_bytes()) {
            Ok(fields) => fields,
            Err(mistakes) => return Self { has_key: false, read: Err(mistakes) },
        };
        let has_key = fields.has(KEY);
        let member = MemberFields::read(&mut fields);
        let mistakes = fields.finish();
        let read = member.filter(|_| mistakes.is_empty()).ok_or(mistakes);
        Self { has_key, read }
    }
}

impl FieldValue for Members {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let list = serde_json::from_str(json.get());
        let List { items, length } =
            list.map_err(|_| Mistake::new(MistakeCode::WrongType, "must be a list"))?;
        if !(1..=MAX_JOBS).contains(&length) {
            let message = format!("must be 1 to {MAX_JOBS} jobs, not {length}");
            return Err(Mistake::new(MistakeCode::WrongLength, message));
        }
        Ok(Self(items.into_iter().map(MemberRead::of).collect()))
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "must be a list"))
    }
}

impl Members {
    /// The jobs to be created. `header` is the key that came with the batch: each job's is made of it and of the job's
    /// place, and then none may bring its own.
    fn with_keys(self, header: Option<&IdempotencyKey>) -> Result<Vec<Result<Member, Problem>>, Problem> {
        let mut mistakes = Mistakes::default();
        if header.is_some() {
            let message = "must not be given beside the header Idempotency-Key";
            for (index, _) in self.0.iter().enumerate().filter(|(_, member)| member.has_key) {
                let mistake = Mistake::new(MistakeCode::Conflict, message);
                mistakes.add(Place::Body, format!("jobs.{index}.{KEY}"), mistake);
            }
        }
        if !mistakes.is_empty() {
            return Err(Problem::new(&INVALID_FIELD).because(mistakes));
        }
        let members = self.0.into_iter().enumerate().map(|(index, member)| {
            let Both(new_job, MemberKey { idempotency_key }) = member.read?;
            let key = header.map(|header| header.of_member(index)).or(idempotency_key);
            Ok(Member { new_job, key })
        });
        Ok(members.collect())
    }
}

/// One job of a batch in the API's document.
#[derive(Debug)]
struct BatchMember;

impl ToSchema for BatchMember {
    fn name() -> Cow<'static, str> {
        "NewJobOfBatch".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        NewJob::schemas(schemas);
        schemas.push((IdempotencyKey::name().into_owned(), IdempotencyKey::schema()));
    }
}

impl PartialSchema for BatchMember {
    /// A new job's, and one property more.
    fn schema() -> RefOr<Schema> {
        let mut schema = NewJob::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            let key = utoipa::openapi::Ref::from_schema_name(IdempotencyKey::name());
            object.properties.insert(KEY.to_owned(), key.into());
        }
        schema
    }
}

/// What became of one job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchResult)]
struct Answer<'a> {
    /// What a request of its own would have been answered.
    #[schema(example = 201)]
    status: u16,
    /// Its key was used before, for the same job: this is the first one, without its payload and result.
    #[serde(skip_serializing_if = "is_false")]
    replayed: bool,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobView<'a>>,
    /// Why it was not created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemView<'a>>)]
    error: Option<&'a Problem>,
}

/// What became of each job of a batch, in order.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written piece by piece")]
struct BatchResults<'a> {
    results: Vec<Answer<'a>>,
}

type CreateJobs = Input<Empty, Empty, KeyHeader, Json<BatchBody>>;

/// Creates up to 1,000 jobs, each with an answer of its own.
///
/// The header `Idempotency-Key` stands for `<key>:<index>` for each of them, counted from 0.
#[utoipa::path(
    tag = "jobs",
    params(CreateJobs),
    request_body(content = BatchBody, example = json!({ "jobs": [{ "kind": "noop" }, { "kind": "noop", "queue": "mail" }] })),
    responses((status = 200, description = "What became of each.", body = BatchResults<'static>)),
)]
#[post("/v1/jobs/batch")]
pub(super) async fn create_jobs(input: CreateJobs, creator: Data<Creator>) -> Result<HttpResponse, Problem> {
    let members = input.body.0.jobs.with_keys(input.headers.idempotency_key.as_ref())?;
    let created = creator.create_all(members, input.context.trace).await?;
    Ok(answer::json_list("results", created, |created| answer::piece(&answer(&created)), "", input.room))
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
                    if list.length <= MAX_JOBS {
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
    use crate::http::read::read_json_object;

    fn read(json: &str, header: Option<&str>) -> Result<Vec<Result<Member, Problem>>, Problem> {
        let header: Option<IdempotencyKey> = header.map(|key| key.parse().unwrap());
        read_json_object::<BatchBody>(json.as_bytes())?.jobs.with_keys(header.as_ref())
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
