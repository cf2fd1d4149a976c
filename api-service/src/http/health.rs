//! Health endpoints: for load balancers, containers and people.

use actix_web::{HttpResponse, get, http::header, web::Data};
use serde_json::json;
use service_kit::Health;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

const LIVE: &str = "/health/live";
const READY: &str = "/health/ready";

/// What probes ask for.
pub(super) const PATHS: [&str; 2] = [LIVE, READY];

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig<'_>) {
    app.service(get_live).service(get_ready);
}

/// What a liveness probe is answered.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written")]
struct Liveness {
    /// `ok`
    #[schema(example = "ok")]
    status: String,
}

/// What a readiness probe is answered.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what service-kit writes")]
struct Readiness {
    /// `ok` where the database takes writes.
    #[schema(example = "ok")]
    status: String,
    /// `ok` or `away`
    #[schema(example = "ok")]
    mongodb: String,
    /// Being away shows, and fails nothing.
    #[schema(example = "ok")]
    nats: String,
}

/// Whether the service is alive.
#[utoipa::path(
    tag = "health",
    responses((status = 200, description = "It is.", body = Liveness)),
)]
#[get("/health/live")]
async fn get_live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Whether the service is ready: MongoDB answers, and has taken a write within the last two seconds, the service's own or a
/// probe. Where NATS is away, jobs are taken all the same.
#[utoipa::path(
    tag = "health",
    responses(
        (status = 200, description = "It is.", body = Readiness),
        (status = 503, description = "It is not.", body = Readiness),
    ),
)]
#[get("/health/ready")]
async fn get_ready(health: Data<Health>) -> HttpResponse {
    let readiness = health.readiness().await;
    if readiness.is_ready() {
        return HttpResponse::Ok().json(readiness);
    }
    HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, 2)).json(readiness)
}
