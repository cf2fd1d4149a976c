//! The older work API's routes, whose clients go on working unchanged: `POST /api/work?data=…` and `GET /api/status/{id}`.
//! Their jobs are of kind `shuffle`.

use actix_web::{
    HttpResponse, get, post,
    web::{Data, Json},
};
use serde::Serialize;
use serde_json::json;
use service_kit::settings::Reader;
use shared_events::{JobId, JsonText, Kind, Queue, Status};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    http::{
        Problem,
        problem::types::INVALID_PARAMETER,
        read::{Empty, Input, PathFields, ReadFields, Text},
        route_problems,
    },
    jobs::{Created, Creator, Job, KeepS, Lifecycle, NewJob},
};

route_problems! {
    /// Asking for work.
    WorkProblems: INVALID_PARAMETER;
}

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_work).service(get_work);
}

/// How the jobs of this API's clients are created.
#[derive(Debug, Clone)]
pub struct WorkSettings {
    /// How long they are kept after their end, in seconds; 1 to 31,536,000.
    pub keep_s: u32,
    /// Where they are sent.
    pub queue: Queue,
}

impl WorkSettings {
    /// Reads them.
    pub fn read(from: &mut Reader) -> Self {
        Self {
            keep_s: from
                .setting("WORK_KEEP_S", "how long the jobs of `POST /api/work` are kept after their end")
                .number(3600, 1..=31_536_000),
            queue: from
                .setting("WORK_QUEUE", "where the jobs of `POST /api/work` are sent")
                .values("a queue's name")
                .or(Queue::default()),
        }
    }
}

/// What is to be shuffled. It is a part of the address, which has at most 16 KiB, and a character up to twelve bytes there.
type WorkData = Text<0, 1000>;

/// The older work API's request.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
struct WorkQuery {
    /// The text to be shuffled.
    #[param(inline, example = "hasty")]
    data: WorkData,
}

/// The older work API's answer to new work.
#[derive(Debug, Serialize, ToSchema)]
struct Callback {
    /// What to ask `GET /api/status/{id}` with.
    callback: JobId,
}

/// Has a text shuffled, which takes three seconds.
#[utoipa::path(
    tag = "older clients",
    params(Input<Empty, WorkQuery>),
    responses((status = 200, description = "The job is stored.", body = Callback), WorkProblems),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/jobs"))),
)]
#[post("/api/work")]
async fn create_work(
    input: Input<Empty, WorkQuery>,
    creator: Data<Creator>,
    settings: Data<WorkSettings>,
) -> Result<Json<Callback>, Problem> {
    let new_job = new_job(&input.query.data, &settings)?;
    let (Created::New(job) | Created::Before(job)) =
        creator.create(new_job, None, input.context.trace).await?;
    Ok(Json(Callback { callback: job.job_id() }))
}

fn new_job(text: &str, settings: &WorkSettings) -> Result<NewJob, Problem> {
    let kind: Kind = "shuffle".parse().map_err(|_| Problem::no_path())?;
    let payload = JsonText::of(&json!({ "text": text, "pause_s": 3 })).map_err(|_| Problem::no_path())?;
    let WorkSettings { keep_s, queue } = settings.clone();
    Ok(NewJob { keep_s: KeepS::within(keep_s), queue, ..NewJob::new(kind, payload) })
}

/// Which job.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
struct WorkPath {
    /// What `callback` said.
    id: JobId,
}

impl PathFields for WorkPath {}

/// Work as the older API showed it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct WorkStatus<'a> {
    /// Where it stands; `done` also where it failed or was cancelled.
    status: WorkState,
    /// The shuffled text; empty until it is done, and where there is none.
    value: &'a str,
}

/// Where work stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WorkState {
    /// Nobody has taken it.
    Accepted,
    /// It runs.
    Pending,
    /// It is over.
    Done,
}

/// Shows work as the older API did.
#[utoipa::path(
    tag = "older clients",
    params(Input<WorkPath>),
    responses(
        (status = 200, description = "Where it stands.", body = WorkStatus<'static>),
        (status = 404, description = "There is no such work, or its time is over."),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/jobs/{id}"))),
)]
#[get("/api/status/{id}")]
async fn get_work(input: Input<WorkPath>, lifecycle: Data<Lifecycle>) -> Result<HttpResponse, Problem> {
    let job = lifecycle.get(input.path.id).await?;
    let text = shuffled(&job).unwrap_or_default();
    Ok(HttpResponse::Ok().json(WorkStatus { status: state(job.status), value: &text }))
}

const fn state(status: Status) -> WorkState {
    match status {
        Status::Scheduled | Status::Queued => WorkState::Accepted,
        Status::Running => WorkState::Pending,
        Status::Finished | Status::Failed | Status::Cancelled => WorkState::Done,
    }
}

fn shuffled(job: &Job) -> Option<String> {
    let mut result: serde_json::Value = serde_json::from_str(job.result.as_deref()?).ok()?;
    match result.get_mut("text")?.take() {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}
