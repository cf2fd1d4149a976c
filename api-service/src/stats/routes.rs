//! `/v1/stats`.

use actix_web::{
    get,
    web::{Data, Json},
};
use serde::Serialize;
use service_kit::Health;
use shared_events::Timestamp;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    http::{Problem, read::Input},
    jobs::{created_at, timestamp},
    outbox::Backlog,
    queues::{Count, EndedView, Queues},
};

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(get_stats);
}

/// The system at a glance.
#[derive(Debug, Serialize, ToSchema)]
struct Stats {
    /// Jobs that wait for a worker.
    waiting: Count,
    /// Jobs that run.
    running: Count,
    /// Jobs whose time has not come.
    scheduled: Count,
    /// When the oldest of those that wait was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_at: Option<Timestamp>,
    /// Jobs that have ended in the last minutes.
    ended: EndedView,
    /// How many have ended a second, over the last ten seconds.
    ended_per_s: f64,
    /// Queues that have jobs which have not ended.
    queues: Count,
    /// Announcements that wait for the broker; 0 where it takes them at once.
    outbox_waiting: u64,
    /// What is wrong, for people; empty where nothing is.
    problems: Vec<String>,
}

/// Shows the system at a glance: jobs by state, how many end, and what is wrong. At most a second old.
#[utoipa::path(
    tag = "stats",
    responses((status = 200, description = "All queues together.", body = Stats)),
)]
#[get("/v1/stats")]
async fn get_stats(
    _: Input,
    queues: Data<Queues>,
    backlog: Data<Backlog>,
    health: Data<Health>,
) -> Result<Json<Stats>, Problem> {
    let totals = queues.totals().await?;
    let (now, ended) = (timestamp(queues.now()), queues.ended());
    let outbox_waiting = backlog.waiting();
    let readiness = health.readiness().await;
    Ok(Json(Stats {
        waiting: totals.waiting,
        running: totals.running,
        scheduled: totals.scheduled,
        oldest_waiting_at: totals.oldest.map(created_at),
        ended: EndedView::at(now, ended, ended.all()),
        ended_per_s: ended.per_s(),
        queues: totals.queues,
        outbox_waiting,
        problems: readiness.problems().map(str::to_owned).collect(),
    }))
}
