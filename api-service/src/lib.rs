//! Takes jobs over HTTP, keeps them, announces them, and shows how they end.
//!
//! Somebody following a job reads [`jobs`] (request to insert), [`relay`] (outbox to broker), and
//! [`events`] (broker to status).

pub mod backlog;
pub mod changed;
pub mod events;
pub mod http;
pub mod jobs;
pub mod noting;
pub mod problem;
pub mod queue_shares;
pub mod reconciler;
pub mod relay;
pub mod room;
pub mod settings;
pub mod stream_generation;
pub mod stream_order;
pub mod unmatched;
pub mod waiters;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::Server;
use anyhow::Context;
use service_kit::{Mongo, Pace, messages::MessageReader, telemetry::chain};
use shared_events::{Broker, streams};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    backlog::Backlog,
    changed::Changed,
    events::Events,
    http::Services,
    jobs::{Creator, Jobs, Lifecycle, Retention},
    noting::Noting,
    reconciler::Reconciler,
    relay::{Relay, RelayTiming},
    room::{Applied, Room},
    settings::{JobSettings, Settings},
    stream_generation::StreamGenerations,
    stream_order::StreamOrder,
    unmatched::UnmatchedEvents,
    waiters::Waiters,
};

/// How long the database's clock is relied on: this machine may have slept, or that clock been set.
const CLOCK_EVERY: Duration = Duration::from_secs(10);

/// How long what works in the background may take to come to an end. A database that hangs can keep it for ever.
const KEEPERS: Duration = Duration::from_secs(2);

/// A replica, bound to its address and ready to run.
pub struct App {
    server: Server,
    address: SocketAddr,
    jobs: Jobs,
    broker: Broker,
    relay: Relay,
    noting: Arc<Noting>,
    generations: StreamGenerations,
    changed: Changed,
    settings: JobSettings,
    unreadable_wait: Duration,
    retention: Duration,
    grace: Duration,
}

impl App {
    /// Binds and prepares everything. Neither NATS nor MongoDB need be there yet.
    ///
    /// # Errors
    /// Where an address or URI makes no sense, or the address is taken.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(settings.addr)
            .with_context(|| format!("could not listen on {} (API_ADDR)", settings.addr))?;
        let address = listener.local_addr()?;
        let mongo = Mongo::connect(&settings.mongo_uri, &settings.mongo_database, "api-service")
            .await
            .context("could not use API_MONGO_URI")?;
        let broker = Broker::connect(&settings.common.nats, settings.common.streams, "api-service").await?;
        let (jobs, waiters) = (Jobs::new(mongo), Waiters::default());
        // Marks come off long before the scan would look at them.
        let noting = Arc::new(Noting::new(settings.jobs.relay_after / 2));
        let (limits, grace) = (settings.jobs, settings.shutdown_grace);
        let backlog = Backlog::new(limits.outbox_max);
        let generations = StreamGenerations::default();
        let timing = RelayTiming {
            scan: limits.relay_scan,
            patience: limits.relay_after,
            silent_after: limits.silent_after,
        };
        let relay = Relay::new(
            jobs.clone(),
            broker.clone(),
            Arc::clone(&noting),
            backlog,
            generations.clone(),
            timing,
        );
        let lifecycle = Lifecycle::new(jobs.clone(), relay.clone(), waiters.clone(), limits.relay_after);
        let creator = Creator::new(jobs.clone(), relay.clone(), limits.rerun_window, limits.relay_after);
        let changed = Changed::new(broker.clone(), waiters, Arc::clone(&noting));
        let services = Services {
            creator,
            jobs: jobs.clone(),
            broker: broker.clone(),
            lifecycle,
            threads: settings.http_threads,
            allowed: settings.allowed,
        };
        let server = http::serve(listener, services, grace)?;
        let unreadable_wait = settings.common.unreadable_wait;
        Ok(Self {
            server,
            address,
            jobs,
            broker,
            relay,
            noting,
            generations,
            changed,
            settings: limits,
            unreadable_wait,
            retention: settings.common.retention,
            grace,
        })
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
        info!(address = %self.address, "api-service starts");
        warn!("there is no authentication yet: whoever reaches this address can create and read jobs");
        let (keep, keepers) = (CancellationToken::new(), TaskTracker::new());
        self.spawn_keepers(&keepers, &keep);
        let handle = self.server.handle();
        let server = tokio::spawn(self.server);
        stop.cancelled().await;

        info!(grace_s = self.grace.as_secs_f64(), "no new connections; letting requests under way finish");
        let flush = async {
            handle.stop(true).await;
            self.relay.finish().await;
            keep.cancel();
            keepers.close();
            if tokio::time::timeout(KEEPERS, keepers.wait()).await.is_err() {
                warn!(left = keepers.len(), "not all that works in the background came to an end");
            }
        };
        if tokio::time::timeout(self.grace + Duration::from_secs(1), flush).await.is_err() {
            warn!("grace is over; what was not announced is left to other replicas' scans");
        }
        server.abort();
        self.broker.nats().flush().await;
        info!("api-service has stopped");
        Ok(())
    }

    fn spawn_keepers(&self, keepers: &TaskTracker, stop: &CancellationToken) {
        let (broker, token) = (self.broker.clone(), stop.clone());
        keepers.spawn(async move { broker.keep_streams(&token).await });
        let (relay, token) = (self.relay.clone(), stop.clone());
        keepers.spawn(async move { relay.scan(&token).await });
        let (noting, jobs, token) = (Arc::clone(&self.noting), self.jobs.clone(), stop.clone());
        keepers.spawn(async move { noting.run(&jobs, &token).await });
        let reconciler = Reconciler {
            broker: self.broker.clone(),
            jobs: self.jobs.clone(),
            generations: self.generations.clone(),
            noting: Arc::clone(&self.noting),
            relay: self.relay.clone(),
            silent_after: self.settings.silent_after,
        };
        let (every, token) = (self.settings.reconcile, stop.clone());
        keepers.spawn(async move { reconciler.run(every, &token).await });
        let (changed, token) = (self.changed.clone(), stop.clone());
        keepers.spawn(async move { changed.hear(&token).await });
        let applied = Arc::<Applied>::default();
        let (room, token) = (Room::new(self.broker.clone(), Arc::clone(&applied)), stop.clone());
        keepers.spawn(async move { room.run(&token).await });
        let (clock, wait) = (self.jobs.mongo().clock().clone(), self.unreadable_wait);
        let events = Arc::new(Events {
            broker: self.broker.clone(),
            jobs: self.jobs.clone(),
            changed: self.changed.clone(),
            applied,
            pace: Pace::new(events::PACE),
            messages: MessageReader::new(streams::JOB_EVENTS, clock, wait),
            order: StreamOrder::new(self.generations.events.clone()),
            unmatched: UnmatchedEvents::default(),
        });
        let (reader, token) = (Arc::clone(&events), stop.clone());
        keepers.spawn(async move { reader.run(&token).await });
        let (jobs, token) = (self.jobs.clone(), stop.clone());
        keepers.spawn(async move { jobs.mongo().take_up_dead_letters(events.as_ref(), wait, &token).await });
        let retention = Retention { jobs: self.jobs.clone(), kept: self.retention };
        let token = stop.clone();
        keepers.spawn(async move { retention.run(&token).await });
        let (jobs, token) = (self.jobs.clone(), stop.clone());
        keepers.spawn(async move { prepare_and_keep_clock(&jobs, &token).await });
    }
}

/// Makes the indexes as soon as the database is there, and goes on reading its clock.
async fn prepare_and_keep_clock(jobs: &Jobs, stop: &CancellationToken) {
    let mut prepared = false;
    loop {
        let done = async {
            jobs.mongo().learn_clock().await?;
            if !prepared {
                jobs.prepare().await?;
                info!("MongoDB is there");
            }
            Ok::<_, service_kit::StoreError>(())
        };
        let pause = match done.await {
            Ok(()) => {
                prepared = true;
                CLOCK_EVERY
            }
            Err(error) => {
                warn!(error = chain(&error), "waiting for MongoDB");
                Duration::from_millis(500)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
