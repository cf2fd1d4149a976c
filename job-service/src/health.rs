//! Health endpoints: for containers, load balancers and people.

use actix_web::{HttpResponse, HttpServer, dev::Server, web};
use serde_json::json;
use shared_events::Broker;

use crate::ledger::Ledger;

/// Serves `GET /health/live` and `GET /health/ready`.
///
/// # Errors
/// Where the address can not be bound.
pub fn serve(listener: std::net::TcpListener, ledger: Ledger, broker: Broker) -> std::io::Result<Server> {
    let state = web::Data::new((ledger, broker));
    let app = move || {
        actix_web::App::new()
            .app_data(state.clone())
            .route("/health/live", web::get().to(live))
            .route("/health/ready", web::get().to(ready))
    };
    Ok(HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn ready(state: web::Data<(Ledger, Broker)>) -> HttpResponse {
    let (ledger, broker) = state.get_ref();
    let nats = if broker.nats().is_connected() { "ok" } else { "away" };
    match ledger.check_writable().await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ok", "mongodb": "ok", "nats": nats })),
        Err(_) => HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "failing", "mongodb": "can not be written", "nats": nats })),
    }
}
