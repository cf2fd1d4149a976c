//! Claims announced jobs, runs their handlers under a lease, and records how each run ended.
//!
//! Somebody following a job reads [`fetch`] (stream to slot), `claim` and [`ledger`] (the claim), [`attempt`]
//! (the handler and its outcome), [`relay`] (ledger to broker); [`lease`], [`due`] and [`resume`] heal
//! what is interrupted on the way.

pub mod attempt;
pub mod backoff;
pub mod carrier;
pub mod chronicle;
mod claim;
mod claim_batch;
mod clock;
pub mod control;
pub mod due;
pub mod fetch;
pub mod handler_pool;
pub mod health;
pub mod held;
pub mod isolation;
pub mod kinds;
pub mod lease;
pub mod ledger;
pub mod origin;
mod pull;
pub mod relay;
pub mod resume;
pub mod retention;
pub mod settings;
mod wind_down;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::Server;
use anyhow::Context;
use service_kit::{ByteBudget, Mongo, messages::MessageReader, telemetry::chain};
use shared_events::{Broker, WorkerId, streams};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    attempt::Runner, chronicle::Chronicle, control::Control, fetch::Fetcher, handler_pool::HandlerPool,
    held::Held, kinds::Registry, ledger::Ledger, origin::Origins, relay::Relay, retention::Retention,
    settings::Settings, wind_down::Stopping,
};

/// A worker, bound to its health address and ready to run.
pub struct App {
    fetcher: Fetcher,
    cancels: Arc<MessageReader>,
    unreadable_wait: Duration,
    concurrency: usize,
    retention: Retention,
    health: Server,
    address: SocketAddr,
}

impl App {
    /// Binds and prepares everything. Neither NATS nor MongoDB need be there yet.
    ///
    /// # Errors
    /// Where an address or URI makes no sense, or the health address is taken.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(settings.health_addr)
            .with_context(|| format!("could not listen on {} (WORKER_HEALTH_ADDR)", settings.health_addr))?;
        let address = listener.local_addr()?;
        let mongo = Mongo::connect(&settings.mongo_uri, &settings.mongo_database, "job-service")
            .await
            .context("could not use JOB_MONGO_URI")?;
        let (clock, unreadable_wait) = (mongo.clock().clone(), settings.common.unreadable_wait);
        let broker = Broker::connect(&settings.common.nats, settings.common.streams, "job-service").await?;
        let (held, worker, kept) = (Held::default(), WorkerId::generate(), settings.common.retention);
        let settings = Arc::new(settings.worker);
        let chronicle = Chronicle::open(settings.chronicle.as_deref(), &worker)
            .context("could not write to WORKER_CHRONICLE_DIR")?;
        let carries = settings.concurrency <= carrier::MOST_SLOTS;
        let ledger = Ledger::new(mongo, worker, held.clone(), settings.lease, carries, chronicle.clone());
        let retention = Retention { ledger: ledger.clone(), kept };
        let relay = Relay::new(ledger.clone(), broker.clone(), settings.relay_after);
        let health = health::serve(listener, ledger.clone(), broker.clone())?;
        let runner = Runner {
            registry: Registry::new(settings.faults, &chronicle),
            handlers: HandlerPool::start(settings.handler_threads)
                .context("could not start threads (HANDLER_THREADS)")?,
            chronicle,
            ledger,
            held,
            outcomes: ByteBudget::new(attempt::OUTCOMES_BYTES),
            relay,
            settings: Arc::clone(&settings),
            abandon: CancellationToken::new(),
        };
        let concurrency = settings.concurrency;
        let slots = Arc::new(Semaphore::new(concurrency));
        let messages = Arc::new(MessageReader::new(streams::JOBS, clock.clone(), unreadable_wait));
        let cancels = Arc::new(MessageReader::new(streams::JOB_CONTROL, clock, unreadable_wait));
        let (origins, tasks) = (Origins::default(), TaskTracker::new());
        let fetcher = Fetcher { broker, runner, slots, origins, tasks, messages };
        Ok(Self { fetcher, cancels, unreadable_wait, concurrency, retention, health, address })
    }

    /// Where the health endpoints listen.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Works until told to stop; then lets the running finish within the grace, gives the rest back,
    /// and returns, whatever hangs, a few seconds after the grace at most.
    ///
    /// # Errors
    /// Where the health endpoints break.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { fetcher, cancels, unreadable_wait, concurrency, retention, health, address } = self;
        let settings = Arc::clone(&fetcher.runner.settings);
        let worker = fetcher.runner.ledger.worker().clone();
        info!(%worker, health = %address, concurrency, queues = ?settings.queues, lease_s = settings.lease.as_secs_f64(), "worker starts");
        let (health_stop, health) = (health.handle(), tokio::spawn(health));

        // The keepers go on until the last outcome is recorded.
        let keep = CancellationToken::new();
        let keepers = TaskTracker::new();
        let control = Control {
            broker: fetcher.broker.clone(),
            ledger: fetcher.runner.ledger.clone(),
            held: fetcher.runner.held.clone(),
            relay: fetcher.runner.relay.clone(),
            messages: cancels,
        };
        spawn_keepers(&fetcher, control, unreadable_wait, &keepers, &keep);
        let token = keep.clone();
        keepers.spawn(async move { retention.run(&token).await });

        let stopping = Stopping { fetcher, concurrency, unreadable_wait, keep, keepers, health: health_stop };
        stopping.run(&stop).await;
        if health.is_finished() {
            health.await??;
        }
        info!(%worker, "worker has stopped");
        Ok(())
    }
}

fn spawn_keepers(
    fetcher: &Fetcher,
    control: Control,
    unreadable_wait: Duration,
    keepers: &TaskTracker,
    stop: &CancellationToken,
) {
    let (runner, settings) = (&fetcher.runner, &fetcher.runner.settings);
    let (broker, token) = (fetcher.broker.clone(), stop.clone());
    keepers.spawn(async move { broker.keep_streams(&token).await });
    let (control_too, token) = (control.clone(), stop.clone());
    keepers.spawn(async move { control_too.run(&token).await });
    let (control_too, token) = (control.clone(), stop.clone());
    keepers.spawn(async move {
        let mongo = control_too.ledger.mongo();
        // Before that it is not known whose leases have ended.
        if token.run_until_cancelled(mongo.clock().learnt()).await.is_none() {
            return;
        }
        mongo.take_up_dead_letters(&control_too, unreadable_wait, &token).await;
    });
    let token = stop.clone();
    keepers.spawn(async move { control.hear_stops(&token).await });
    let (ledger, held, lease, token) =
        (runner.ledger.clone(), runner.held.clone(), settings.lease, stop.clone());
    keepers.spawn(async move { lease::keep(&ledger, &held, lease, &token).await });
    let (relay, every, token) = (runner.relay.clone(), settings.relay_scan, stop.clone());
    keepers.spawn(async move { relay.scan(every, &token).await });
    let (ledger, lease, token) = (runner.ledger.clone(), settings.lease, stop.clone());
    keepers.spawn(async move { clock::keep(&ledger, lease, &token).await });
}

/// Fetches, and looks for due runs, once the database has answered.
async fn fetch_when_ready(fetcher: &Fetcher, unreadable_wait: Duration, stop: &CancellationToken) {
    let ledger = &fetcher.runner.ledger;
    while let Err(error) = prepare(ledger).await {
        warn!(error = chain(&error), "waiting for MongoDB");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
    info!("ledger is there; taking jobs");
    let due_scan = fetcher.runner.settings.due_scan;
    let dead_letters = ledger.mongo().take_up_dead_letters(fetcher, unreadable_wait, stop);
    tokio::join!(
        fetcher.run(stop),
        due::scan(fetcher, due_scan, stop),
        resume::keep(fetcher, stop),
        dead_letters
    );
}

async fn prepare(ledger: &Ledger) -> Result<(), service_kit::StoreError> {
    ledger.mongo().learn_clock().await?;
    ledger.prepare().await
}
