//! The HTTP server: what goes around every route.

use std::{net::TcpListener, rc::Rc, time::Duration};

use actix_cors::Cors;
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, Route,
    dev::Server,
    guard,
    http::{Method, header},
    middleware::{Condition, from_fn},
    web::{self, Data, ServiceConfig},
};
use service_kit::Health;

use super::{
    Problem,
    authority::AllowedOrigins,
    context, health,
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

/// Serves the health endpoints, and what `routes` adds.
///
/// # Errors
/// Where the listener can not be used.
pub fn serve(
    listener: TcpListener,
    settings: ServerSettings,
    health: Health,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<Server> {
    let ServerSettings { threads, allowed, grace } = settings;
    let (health, room) = (Data::new(health), Data::new(Room::default()));
    let app = move || {
        let checked = Rc::new(allowed.clone());
        // The last one is the first that a request meets.
        App::new()
            .wrap(Condition::new(!allowed.origins.is_empty(), cors(&allowed.origins)))
            .wrap(from_fn(move |request, next| same_site::around(Rc::clone(&checked), request, next)))
            .wrap(from_fn(read_rest))
            .wrap(from_fn(context::around))
            .app_data(health.clone())
            .app_data(room.clone())
            .configure(health::configure)
            .configure(routes.clone())
            .default_service(web::to(|| async { Err::<String, _>(Problem::no_path()) }))
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
    let exposed = ["location", "retry-after", "x-request-id", "traceparent", "idempotent-replayed"];
    let cors = Cors::default().allow_any_method().allow_any_header().expose_headers(exposed).max_age(3600);
    if origins.has_all() {
        return cors.allow_any_origin();
    }
    origins.named().iter().fold(cors, |cors, origin| cors.allowed_origin(&origin.to_string()))
}

/// A route for GET and HEAD.
#[must_use]
pub fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Answers OPTIONS, and 405 to all else; both say which methods there are.
#[must_use]
pub fn method_not_allowed(allow: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move {
        if request.method() == Method::OPTIONS {
            return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
        }
        Err(Problem::no_method(allow))
    })
}
