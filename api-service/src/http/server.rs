//! The HTTP server and its table of routes.

use std::{net::TcpListener, time::Duration};

use actix_web::{
    App, HttpServer, Route,
    dev::Server,
    guard,
    middleware::from_fn,
    web::{self, Data},
};
use shared_events::Broker;

use super::{context::around, health};
use crate::{
    jobs::{self, Creator, Jobs},
    problem::Problem,
    waiters::Waiters,
};

/// How long a client may take to send its request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long a connection may be idle; longer than a proxy keeps one, so that it closes first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What routes work with.
#[derive(Clone)]
pub struct Services {
    /// Creates jobs.
    pub creator: Creator,
    /// Reads jobs.
    pub jobs: Jobs,
    /// Shows whether NATS is there.
    pub broker: Broker,
    /// Hears of ends.
    pub waiters: Waiters,
}

/// Serves all routes.
///
/// # Errors
/// Where the listener can not be used.
pub fn serve(listener: TcpListener, services: Services, grace: Duration) -> std::io::Result<Server> {
    let Services { creator, jobs, broker, waiters } = services;
    let (creator, jobs, broker, waiters) =
        (Data::new(creator), Data::new(jobs), Data::new(broker), Data::new(waiters));
    let app = move || {
        App::new()
            .wrap(from_fn(around))
            .app_data(creator.clone())
            .app_data(jobs.clone())
            .app_data(broker.clone())
            .app_data(waiters.clone())
            .configure(health::configure)
            .configure(jobs::configure)
            .configure(jobs::configure_legacy)
            .default_service(web::to(|| async { Err::<String, _>(Problem::no_path()) }))
    };
    let server = HttpServer::new(app)
        .workers(2)
        .client_request_timeout(HEAD_DEADLINE)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(grace.as_secs().max(1))
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

/// A route for GET and HEAD.
#[must_use]
pub fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Answers 405 and says which methods there are.
#[must_use]
pub fn method_not_allowed(allow: &'static str) -> Route {
    web::to(move || async move { Err::<String, _>(Problem::no_method(allow)) })
}
