//! Health endpoints: for load balancers, containers and people.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Data, ServiceConfig},
};
use serde_json::json;
use service_kit::Health;

use super::{get_or_head, method_not_allowed};

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

/// Where NATS is away, jobs are taken all the same.
async fn ready(health: Data<Health>) -> HttpResponse {
    let readiness = health.readiness().await;
    if readiness.is_ready() {
        return HttpResponse::Ok().json(readiness);
    }
    HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, 2)).json(readiness)
}
