//! Health endpoints: for containers, load balancers and people.

use actix_web::{HttpResponse, HttpServer, dev::Server, web};
use serde_json::json;
use service_kit::Health;

/// Serves `GET /health/live` and `GET /health/ready`.
///
/// # Errors
/// Where the address can not be bound.
pub(crate) fn serve(listener: std::net::TcpListener, health: Health) -> std::io::Result<Server> {
    let health = web::Data::new(health);
    let app = move || {
        actix_web::App::new()
            .app_data(health.clone())
            .route("/health/live", web::get().to(live))
            .route("/health/ready", web::get().to(ready))
    };
    Ok(HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let readiness = health.readiness().await;
    let mut answer =
        if readiness.is_ready() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(readiness)
}
