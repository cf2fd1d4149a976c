//! The HTTP server: what goes around every route.

use std::{net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_cors::Cors;
use actix_web::{
    App, HttpServer,
    dev::Server,
    middleware::{Condition, from_fn},
    web::Data,
};
use service_kit::Health;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::{AppExt, service_config::ServiceConfig};

use super::{
    ProblemType,
    authority::AllowedOrigins,
    context,
    document::{self, DocumentText},
    negotiation::{self, Routes},
    problem::ProblemTypes,
    rest::read_rest,
    room::Room,
    same_site::{self, Allowed},
};

/// How long a client may take to send its request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long a connection may be idle; longer than a proxy keeps one, so that it closes first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How requests are served.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// How many threads serve.
    pub threads: usize,
    /// Under which hosts and from which origins' pages.
    pub allowed: Allowed,
    /// How long requests under way may take after the stop.
    pub grace: Duration,
}

/// Serves what every service has, and what `routes` adds. `api` describes all of it; the types of problems have a page each.
///
/// # Errors
/// Where the listener can not be used.
pub fn serve(
    listener: TcpListener,
    settings: ServerSettings,
    health: Health,
    (api, problem_types): (OpenApi, Vec<&'static ProblemType>),
    routes: impl Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static,
) -> std::io::Result<Server> {
    let ServerSettings { threads, allowed, grace } = settings;
    let (health, room) = (Data::new(health), Data::new(Room::default()));
    let text = Data::new(DocumentText(serde_json::to_vec(&document::to_json(&api)?)?.into()));
    let (api, types) = (Arc::new(api), Data::new(ProblemTypes(problem_types)));
    let app = move || {
        let (checked, known) = (Rc::new(allowed.clone()), Rc::new(Routes::new(&api)));
        // The last one is the first that a request meets.
        App::new()
            .wrap(from_fn(move |request, next| negotiation::around(Rc::clone(&known), request, next)))
            .wrap(Condition::new(!allowed.origins.is_empty(), cors(&allowed.origins)))
            .wrap(from_fn(move |request, next| same_site::around(Rc::clone(&checked), request, next)))
            .wrap(from_fn(read_rest))
            .wrap(from_fn(context::around))
            .app_data(health.clone())
            .app_data(room.clone())
            .app_data(text.clone())
            .app_data(types.clone())
            .service(document::redirects())
            .service(document::swagger_ui())
            .into_utoipa_app()
            .configure(document::configure_own)
            .configure(routes.clone())
            .into_app()
    };
    let server = HttpServer::new(app)
        .workers(threads)
        .client_request_timeout(HEAD_DEADLINE)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(grace.as_secs().max(1))
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

fn cors(origins: &AllowedOrigins) -> Cors {
    let exposed = [
        "deprecation",
        "etag",
        "idempotent-replayed",
        "link",
        "location",
        "preference-applied",
        "retry-after",
        "traceparent",
        "x-request-id",
    ];
    let cors = Cors::default().allow_any_method().allow_any_header().expose_headers(exposed).max_age(3600);
    if origins.has_all() {
        return cors.allow_any_origin();
    }
    origins.named().iter().fold(cors, |cors, origin| cors.allowed_origin(&origin.to_string()))
}
