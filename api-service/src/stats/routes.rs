//! `/v1/stats`.

use actix_web::{
    HttpResponse, get,
    web::{Data, Json},
};
use serde::Serialize;
use service_kit::{Health, health::Readiness, metrics::TEXT};
use shared_events::{
    Queue, Timestamp,
    broadcasts::{Heartbeat, WorkerState},
};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::SystemMetrics;
use crate::{
    http::{Problem, read::Input},
    jobs::{created_at, timestamp},
    outbox::Backlog,
    queues::{Count, EndedView, Queues, Totals},
    workers::{Seen, Workers},
};

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(get_stats).service(get_metrics);
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
    /// Workers.
    workers: usize,
    /// How many attempts they make at once, at most.
    slots: u64,
    /// How many they make now.
    slots_used: u64,
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
    workers: Data<Workers>,
    backlog: Data<Backlog>,
    health: Data<Health>,
) -> Result<Json<Stats>, Problem> {
    let totals = queues.totals().await?;
    let (now, ended) = (timestamp(queues.now()), queues.ended());
    let workers = workers.snapshot().workers;
    let slots = |of: fn(&Heartbeat) -> u32| workers.iter().map(|seen| u64::from(of(&seen.heartbeat))).sum();
    let problems = problems(&totals, &workers, &health.readiness().await, backlog.waiting());
    Ok(Json(Stats {
        waiting: totals.waiting,
        running: totals.running,
        scheduled: totals.scheduled,
        oldest_waiting_at: totals.oldest.map(created_at),
        ended: EndedView::at(now, ended, ended.all()),
        ended_per_s: ended.per_s(),
        queues: totals.queues,
        workers: workers.len(),
        slots: slots(|worker| worker.slots),
        slots_used: slots(|worker| worker.slots_used),
        outbox_waiting: backlog.waiting(),
        problems,
    }))
}

/// Shows the same of each queue, and the workers, for Prometheus. At most a second old, and the same from each replica.
///
/// What a replica itself does is at an address of its own (`METRICS_ADDR`).
#[utoipa::path(
    tag = "stats",
    responses((status = 200, description = "In Prometheus's text format.", content_type = "text/plain", body = String)),
)]
#[get("/metrics")]
async fn get_metrics(
    _: Input,
    system: Data<SystemMetrics>,
    queues: Data<Queues>,
    workers: Data<Workers>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().content_type(TEXT).body(system.text(&queues, &workers).await?))
}

/// How many announcements may wait for a moment without anything being wrong.
const MANY_WAIT: u64 = 1000;

/// How many queues are named at most.
const NAMED: usize = 10;

fn problems(totals: &Totals, workers: &[Seen], readiness: &Readiness, outbox_waiting: u64) -> Vec<String> {
    let mut problems: Vec<String> = readiness.problems().map(str::to_owned).collect();
    if problems.is_empty() && outbox_waiting > MANY_WAIT {
        problems.push(format!("{outbox_waiting} announcements wait for NATS"));
    }
    let takes = |queue: &Queue| {
        let runs = workers.iter().filter(|seen| seen.heartbeat.state == WorkerState::Running);
        runs.into_iter().any(|seen| seen.heartbeat.queues.contains(queue))
    };
    let unserved: Vec<_> = totals.waiting_in.iter().filter(|queue| !takes(queue)).collect();
    for queue in unserved.iter().take(NAMED) {
        problems.push(format!("jobs wait in queue {queue}, and no worker takes any from it"));
    }
    if unserved.len() > NAMED {
        problems.push(format!("so it is with {} more queues", unserved.len() - NAMED));
    }
    problems
}
