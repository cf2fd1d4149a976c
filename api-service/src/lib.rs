//! Takes jobs over HTTP, keeps them, announces them, and shows how they end. Here is only the wiring.
//!
//! Somebody following a job reads [`jobs`] (request to insert), [`outbox`] (mark to broker), and
//! [`status`] (event to status).

mod background;
pub mod check;
pub mod http;
pub mod idempotency;
pub mod jobs;
pub mod kinds;
pub mod legacy;
pub mod live;
pub mod metrics;
pub mod outbox;
pub mod queues;
mod route_data;
pub mod schedules;
pub mod settings;
pub mod stats;
pub mod status;
pub mod traces;
pub mod transfer;
pub mod users;
pub mod workers;

use secrecy::ExposeSecret;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{dev::Server, web::Data};
use anyhow::Context;
use service_kit::{Broker, Health, Mongo};
use shared_events::streams;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    background::{Parts, background_tasks},
    http::{ProblemType, ServerSettings, problem::types},
    jobs::{Creator, Importer, Jobs, Lifecycle, Outbox, Waiters},
    live::{Logs, Progresses},
    outbox::{Backlog, OutboxStore, Relay, RelayTiming, StreamGenerations, StreamStates, Unmarking},
    queues::{EndedCounts, Queues},
    route_data::{RouteData, routes},
    schedules::{ScheduleStore, Scheduler, Schedules},
    settings::Settings,
    stats::SystemMetrics,
    status::Broadcasts,
    transfer::Transfer,
    users::{UserStore, Users},
    workers::Workers,
};

/// How long background tasks may take to come to an end.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// A replica, bound to its address and ready to run.
pub struct App {
    server: Server,
    address: SocketAddr,
    broker: Broker,
    relay: Relay,
    parts: Parts,
    grace: Duration,
}

impl App {
    /// Binds and prepares everything. Neither NATS nor MongoDB need be there yet.
    ///
    /// # Errors
    /// Where an address or URI makes no sense, or the address is taken.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        if let Some(address) = settings.common.metrics_addr {
            service_kit::metrics::start(address, metrics::FAMILIES)?;
        }
        let listener = TcpListener::bind(settings.addr)
            .with_context(|| format!("could not listen on {} (API_ADDR)", settings.addr))?;
        let address = listener.local_addr()?;
        let mongo =
            Mongo::connect(settings.mongo_uri.expose_secret(), &settings.mongo_database, "api-service")
                .await
                .context("could not use API_MONGO_URI")?;
        let definitions = streams::definitions(&settings.common.streams).to_vec();
        let broker = Broker::connect(&settings.common.nats, definitions, "api-service").await?;
        let health = Health::new(mongo.clone(), broker.clone(), "api-service");
        let (limits, relay_after) = (&settings.jobs, settings.common.relay_after);
        let timing = RelayTiming {
            scan: settings.common.relay_scan,
            after: relay_after,
            silent_after: limits.silent_after,
        };
        // Marks come off long before the scan would look at them.
        let unmarking = Arc::new(Unmarking::new(relay_after / 2));
        let (generations, waiters) = (StreamGenerations::default(), Waiters::default());
        let (store, states) = (OutboxStore::new(mongo.clone()), StreamStates::new(mongo.clone()));
        let backlog = Backlog::new(limits.outbox_max);
        metrics::watch_outbox(&backlog, &store);
        let relay = Relay::new(
            store.clone(),
            broker.clone(),
            Arc::clone(&unmarking),
            backlog.clone(),
            generations.clone(),
            timing,
        );
        let users = UserStore::new(mongo.clone());
        let (jobs, outbox) = (Jobs::new(mongo), Arc::new(relay.clone()) as Arc<dyn Outbox>);
        let importer = Importer::new(jobs.clone(), Arc::clone(&outbox), relay_after);
        let creator = Creator::new(jobs.clone(), Arc::clone(&outbox), limits.rerun_window, relay_after);
        let counts = EndedCounts::default();
        let broadcasts =
            Broadcasts::new(broker.clone(), waiters.clone(), Arc::clone(&unmarking), counts.clone());
        let ends = Arc::new(broadcasts.clone());
        let lifecycle = Lifecycle::new(jobs.clone(), outbox, ends, waiters, relay_after);
        let workers = Workers::new(broker.clone());
        let progresses = Progresses::default();
        let queues = Queues::new(jobs.mongo().clone(), counts);
        let scheduler = Scheduler {
            store: ScheduleStore::new(jobs.mongo().clone()),
            creator: creator.clone(),
            lifecycle: lifecycle.clone(),
            jobs: jobs.clone(),
            kept: limits.firings_kept,
            wake: Arc::default(),
        };
        let transfer = Transfer::new(importer, scheduler.clone());
        let schedules = Schedules::new(scheduler.store.clone(), scheduler.clone());
        let data = RouteData {
            schedules: Data::new(schedules),
            creator: Data::new(creator),
            jobs: Data::new(jobs.clone()),
            lifecycle: Data::new(lifecycle),
            queues: Data::new(queues.clone()),
            workers: Data::new(workers.clone()),
            backlog: Data::new(backlog.clone()),
            work: Data::new(settings.work.clone()),
            users: Data::new(Users::new(users.clone())),
            progresses: Data::new(progresses.clone()),
            logs: Data::new(Logs::new(broker.clone())),
            transfer: Data::new(transfer),
            system: Data::new(SystemMetrics::default()),
        };
        let grace = settings.common.shutdown_grace;
        let server_settings =
            ServerSettings { threads: settings.http_threads, allowed: settings.allowed.clone(), grace };
        let server = http::serve(listener, server_settings, health, (api(), problem_types()), routes(data))?;
        let parts = Parts {
            jobs,
            queues,
            users,
            scheduler,
            unmarking,
            generations,
            states,
            store,
            broadcasts,
            workers,
            progresses,
            settings,
        };
        Ok(Self { server, address, broker, relay, parts, grace })
    }

    /// Where HTTP is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop; then lets requests under way finish and announces what it can
    /// within the grace, and returns, whatever hangs.
    ///
    /// # Errors
    /// Where the server breaks.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { server, address, broker, relay, parts, grace } = self;
        info!(%address, "api-service starts");
        warn!("there is no authentication yet: whoever reaches this address can create and read jobs");
        let tasks = background_tasks(&broker, &relay, parts);
        let handle = server.handle();
        let server = tokio::spawn(server);
        stop.cancelled().await;

        info!(grace_s = grace.as_secs_f64(), "no new connections; letting requests under way finish");
        let flush = async {
            handle.stop(true).await;
            relay.finish().await;
            tasks.stop(TASKS_TIMEOUT).await;
        };
        if tokio::time::timeout(grace + Duration::from_secs(1), flush).await.is_err() {
            warn!("grace is over; what was not announced is left to other replicas' scans");
        }
        server.abort();
        broker.nats().flush().await;
        info!("api-service has stopped");
        Ok(())
    }
}

/// The list of routes, a line a domain.
fn domains(app: &mut ServiceConfig<'_>) {
    app.configure(jobs::configure);
    app.configure(kinds::configure);
    app.configure(live::configure);
    app.configure(queues::configure);
    app.configure(stats::configure);
    app.configure(workers::configure);
    app.configure(users::configure);
    app.configure(schedules::configure);
    app.configure(transfer::configure);
    app.configure(legacy::configure);
}

/// The list of types of problems, a line a domain.
#[must_use]
pub fn problem_types() -> Vec<&'static ProblemType> {
    [
        types::COMMON,
        jobs::PROBLEM_TYPES,
        workers::PROBLEM_TYPES,
        users::PROBLEM_TYPES,
        schedules::PROBLEM_TYPES,
    ]
    .concat()
    .into_iter()
    .chain(types::OF_NGINX)
    .collect()
}

/// The API's document (OpenAPI 3.1).
///
/// # Errors
/// Where it has no JSON form.
pub fn document() -> serde_json::Result<serde_json::Value> {
    http::to_json(&api())
}

/// The routes' description; a line a domain that has more to say than its routes do.
fn api() -> OpenApi {
    let mut api = http::document(domains, &problem_types());
    kinds::describe(&mut api);
    api
}
