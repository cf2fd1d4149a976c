//! `/v1/queues`.

use std::str::FromStr;

use actix_web::{
    get,
    web::{Data, Json},
};
use serde::Serialize;
use shared_events::{BadName, Priority, Queue, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{Count, Ended, EndedCounts, Queues, overview::QueueState, problems::ReadProblems};
use crate::{
    http::{
        Problem,
        read::{Empty, Input, Number, PathFields, ReadFields, StringValue},
    },
    jobs::{created_at, timestamp},
    workers::Workers,
};

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(list_queues).service(get_queue);
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueState)]
struct QueueView {
    /// Its name.
    queue: Queue,
    /// Jobs that wait for a worker, by priority.
    waiting: Waiting,
    /// Jobs that run.
    running: Count,
    /// Jobs whose time has not come.
    scheduled: Count,
    /// When the oldest of those that wait was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_at: Option<Timestamp>,
    /// How long ago that was, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_s: Option<f64>,
    /// Jobs that have ended in the last minutes.
    ended: EndedView,
    /// How many workers take jobs from it.
    workers: usize,
}

/// Jobs that wait, by priority.
#[derive(Debug, Serialize, ToSchema)]
struct Waiting {
    high: Count,
    normal: Count,
    low: Count,
}

/// Jobs that have ended in the last five minutes, or since this replica knows. Replicas tell each other over NATS, which may
/// lose some.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ended)]
pub struct EndedView {
    /// Since when it is known.
    since: Timestamp,
    /// They are done.
    finished: u64,
    /// They failed for good.
    failed: u64,
    /// They were cancelled.
    cancelled: u64,
}

impl EndedView {
    /// What is known at `now`.
    #[must_use]
    pub fn at(now: Timestamp, counts: &EndedCounts, Ended { finished, failed, cancelled }: Ended) -> Self {
        let known_for_ms = i64::try_from(counts.known_for().as_millis()).unwrap_or(0);
        let since = Timestamp::from_millis(now.millis() - known_for_ms);
        Self { since, finished, failed, cancelled }
    }
}

/// A page of queues.
#[derive(Debug, Serialize, ToSchema)]
struct QueueList {
    /// In order of their names.
    queues: Vec<QueueView>,
    /// What the next page is asked for with; empty where there is none.
    next_page_token: String,
}

/// How many queues a page has at most.
type PageSize = Number<1, 1000>;

/// Which page.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// How many queues a page has at most.
    #[param(inline, default = PageQuery::default_page_size)]
    page_size: PageSize,
    /// The `next_page_token` of the page before; empty for the first.
    #[param(value_type = Option<String>)]
    page_token: Option<PageToken>,
}

/// The token of a page: the last queue of the page before; none where it is the first.
#[derive(Debug)]
struct PageToken(Option<Queue>);

impl FromStr for PageToken {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl StringValue for PageToken {}

impl PageQuery {
    const fn default_page_size() -> PageSize {
        PageSize::new::<100>()
    }
}

/// Which queue.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
struct QueuePath {
    /// The queue's name.
    name: Queue,
}

impl PathFields for QueuePath {}

/// Lists queues: those that have jobs which have not ended, those of which jobs have ended lately, and those that workers
/// serve.
///
/// Counts are exact up to 10,000 of a queue, state and priority.
#[utoipa::path(
    tag = "queues",
    params(Input<Empty, PageQuery>),
    responses((status = 200, description = "A page of queues.", body = QueueList)),
)]
#[get("/v1/queues")]
async fn list_queues(
    input: Input<Empty, PageQuery>,
    queues: Data<Queues>,
    workers: Data<Workers>,
) -> Result<Json<QueueList>, Problem> {
    let PageQuery { page_size, page_token } = input.query;
    let limit = page_size.get() as usize;
    let after = page_token.and_then(|PageToken(after)| after);
    let (states, more) = queues.page(after.as_ref(), limit, workers.queues()).await?;
    let last = states.last().filter(|_| more).map(|state| state.queue.to_string());
    let queues = states.into_iter().map(|state| view(state, &queues, &workers)).collect();
    Ok(Json(QueueList { queues, next_page_token: last.unwrap_or_default() }))
}

/// Shows a queue; one that nobody uses is empty.
#[utoipa::path(
    tag = "queues",
    params(Input<QueuePath>),
    responses((status = 200, description = "The queue.", body = QueueView), ReadProblems),
)]
#[get("/v1/queues/{name}")]
async fn get_queue(
    input: Input<QueuePath>,
    queues: Data<Queues>,
    workers: Data<Workers>,
) -> Result<Json<QueueView>, Problem> {
    let state = queues.get(input.path.name).await?;
    Ok(Json(view(state, &queues, &workers)))
}

fn view(state: QueueState, queues: &Queues, workers: &Workers) -> QueueView {
    let QueueState { queue, open, ended } = state;
    let now = timestamp(queues.now());
    let waiting = |priority| open.waiting.get(&priority).copied().unwrap_or(Count::ZERO);
    let oldest = open.oldest.map(created_at);
    QueueView {
        waiting: Waiting {
            high: waiting(Priority::High),
            normal: waiting(Priority::Normal),
            low: waiting(Priority::Low),
        },
        running: open.running,
        scheduled: open.scheduled,
        oldest_waiting_at: oldest,
        oldest_waiting_s: oldest.map(|oldest| (now.millis() - oldest.millis()).max(0) as f64 / 1000.0),
        ended: EndedView::at(now, queues.ended(), ended),
        workers: workers.serving(&queue),
        queue,
    }
}
