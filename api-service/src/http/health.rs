//! Health endpoints: for load balancers, containers and people.

use actix_web::{
    HttpResponse,
    web::{self, Data, ServiceConfig},
};
use serde_json::json;
use shared_events::Broker;

use super::{get_or_head, method_not_allowed};
use crate::jobs::Jobs;

const LIVE: &str = "/health/live";
const READY: &str = "/health/ready";

/// What probes ask for.
pub(super) const PATHS: [&str; 2] = [LIVE, READY];

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig) {
    let only = || method_not_allowed("GET, HEAD");
    app.service(web::resource(LIVE).route(get_or_head().to(live)).default_service(only()))
        .service(web::resource(READY).route(get_or_head().to(ready)).default_service(only()));
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Honest: MongoDB has taken a write within the last seconds. NATS being away shows, but jobs are taken all the same.
async fn ready(jobs: Data<Jobs>, broker: Data<Broker>) -> HttpResponse {
    let nats = if broker.nats().is_connected() { "ok" } else { "away" };
    match jobs.mongo().check_writable("api-service").await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ok", "mongodb": "ok", "nats": nats })),
        Err(_) => HttpResponse::ServiceUnavailable()
            .insert_header((actix_web::http::header::RETRY_AFTER, 2))
            .json(json!({ "status": "failing", "mongodb": "can not be written", "nats": nats })),
    }
}
