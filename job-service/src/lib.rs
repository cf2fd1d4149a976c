//! Claims announced jobs, runs their handlers under a lease, and records how each run ended. Here is only the wiring.
//!
//! Somebody following a job reads [`worker`] (announcement to handler), [`ledger`] (the claim and the end), and
//! [`outbox`] (ledger to broker); [`control`] is how cancels come.

pub mod check;
pub mod control;
mod health;
pub mod history;
pub mod kinds;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod outbox;
pub mod presence;
pub mod settings;
pub mod traces;
pub mod worker;

use secrecy::ExposeSecret;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::Server;
use anyhow::Context;
use service_kit::{
    BackgroundTasks, Broker, ByteBudget, Health, Mongo, StoreError,
    nats::{messages::MessageReader, work_queues},
    settings::CommonSettings,
    telemetry::chain,
};
use shared_events::{WorkerId, streams};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    control::Control,
    history::History,
    kinds::Registry,
    ledger::{Ledger, Retention},
    live::LiveAttempts,
    outbox::Relay,
    presence::Presence,
    settings::Settings,
    worker::{
        ActiveRuns, Claimer, Executor, Gate, HandlerPool, KindSlots, MOST_SLOTS, OUTCOMES_BYTES, Origins,
        Room, Stopping, Worker, follow_clock, renew_leases,
    },
};

/// A worker, bound to its health address and ready to run.
pub struct App {
    worker: Worker,
    control: Control,
    retention: Retention,
    common: CommonSettings,
    health: Server,
    address: SocketAddr,
}

/// When a worker comes to its end by itself.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Never.
    UntilStopped,
    /// When it has done what waits.
    WhatWaits,
}

impl App {
    /// Binds and prepares everything. Neither NATS nor MongoDB need be there yet.
    ///
    /// # Errors
    /// Where an address or URI makes no sense, or the health address is taken.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        if let Some(address) = settings.common.metrics_addr {
            service_kit::metrics::start(address, metrics::FAMILIES)?;
        }
        let listener = TcpListener::bind(settings.health_addr)
            .with_context(|| format!("could not listen on {} (WORKER_HEALTH_ADDR)", settings.health_addr))?;
        let address = listener.local_addr()?;
        let mongo =
            Mongo::connect(settings.mongo_uri.expose_secret(), &settings.mongo_database, "job-service")
                .await
                .context("could not use JOB_MONGO_URI")?;
        let common = settings.common;
        let (clock, wait) = (mongo.clock().clone(), common.unreadable_wait);
        let definitions = streams::definitions(&common.streams).to_vec();
        let broker = Broker::connect(&common.nats, definitions, "job-service").await?;
        let (active, id, kept) = (ActiveRuns::default(), WorkerId::generate(), common.retention);
        let settings = Arc::new(settings.worker);
        let history = History::open(settings.history.as_deref(), &id)
            .context("could not write to WORKER_HISTORY_DIR")?;
        let health = Health::new(mongo.clone(), broker.clone(), id.as_str());
        let health = health::serve(listener, health)?;
        let ledger = Ledger::new(mongo, id, settings.lease);
        let relay = Relay::new(ledger.clone(), broker.clone(), common.relay_after);
        let concurrency = settings.concurrency;
        let late_acks = concurrency <= MOST_SLOTS;
        let claimer = Claimer::new(ledger.clone(), active.clone(), history.clone(), late_acks);
        let control = Control {
            broker: broker.clone(),
            ledger: ledger.clone(),
            active: active.clone(),
            relay: relay.clone(),
            messages: Arc::new(MessageReader::new(streams::JOB_CONTROL, clock.clone(), wait)),
            history: history.clone(),
        };
        let executor = Executor {
            registry: Registry::new(&settings, &history).context("could not set up the kinds")?,
            handlers: HandlerPool::start(settings.handler_threads)
                .context("could not start threads (HANDLER_THREADS)")?,
            history,
            ledger: ledger.clone(),
            active,
            outcomes: ByteBudget::new(OUTCOMES_BYTES),
            relay,
            live: LiveAttempts::default(),
            settings: Arc::clone(&settings),
            abandon: CancellationToken::new(),
        };
        let kind_slots = KindSlots::new(&settings.kind_slots);
        let room = Room::new(ledger.clone(), kind_slots.limited());
        let worker = Worker {
            broker,
            queues: settings.queues.clone().into(),
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            kind_slots,
            room,
            gate: Gate::default(),
            claimer,
            executor,
            tasks: TaskTracker::new(),
            origins: Origins::default(),
            messages: Arc::new(MessageReader::new(streams::JOBS, clock, wait)),
        };
        metrics::watch(&worker);
        let retention = Retention { ledger, kept };
        Ok(Self { worker, control, retention, common, health, address })
    }

    /// Where the health endpoints listen.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what waits now, runs it, and returns when that is done; or when told to stop, as [`Self::run`] does.
    ///
    /// # Errors
    /// Where NATS or MongoDB is away for long, or the health endpoints break.
    pub async fn run_once(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.work(Takes::WhatWaits, stop).await
    }

    /// Works until told to stop; then lets the running finish within the grace, gives the rest back,
    /// and returns, whatever hangs, a few seconds after the grace at most.
    ///
    /// # Errors
    /// Where the health endpoints break.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.work(Takes::UntilStopped, stop).await
    }

    async fn work(self, when: Takes, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { worker, control, retention, common, health, address } = self;
        let (settings, id) = (Arc::clone(&worker.executor.settings), worker.executor.ledger.worker().clone());
        info!(worker = %id, health = %address, concurrency = worker.concurrency, queues = ?worker.queues, lease_s = settings.lease.as_secs_f64(), "worker starts");
        let (health_stop, health) = (health.handle(), tokio::spawn(health));
        let presence = Presence::new(worker.clone(), stop.clone());
        let tasks = background_tasks(&worker, control, retention, presence, &common);
        let mut taken = Ok(());
        let taking = async { taken = take_runs(&worker, when, common.unreadable_wait, &stop).await };
        let grace = common.shutdown_grace;
        let stopping = Stopping { worker: worker.clone(), grace, tasks, health: health_stop };
        stopping.run(taking, &stop).await;
        if health.is_finished() {
            health.await??;
        }
        info!(worker = %id, "worker has stopped");
        taken
    }
}

/// How long the database has to have been fine before an announcement that does not come again is the broker's fault.
const CALM_AFTER: Duration = Duration::from_secs(60);

/// The list of background tasks; they go on until the last outcome is recorded.
fn background_tasks(
    worker: &Worker,
    control: Control,
    retention: Retention,
    presence: Presence,
    common: &CommonSettings,
) -> BackgroundTasks {
    let Executor { ledger, active, relay, settings, live, .. } = worker.executor.clone();
    let (broker, lease, id) = (worker.broker.clone(), settings.lease, ledger.worker().clone());
    let (relay_scan, unreadable_wait) = (common.relay_scan, common.unreadable_wait);
    let (stops, letters, clock_ledger) = (control.clone(), control.clone(), ledger.clone());
    let containers_ledger = ledger.clone();
    let mut consumers = worker.consumer_definitions();
    consumers.push(streams::control_consumer());

    let mut tasks = BackgroundTasks::new();
    let (streams, calm) = (broker.clone(), ledger.clone());
    tasks.start("streams", |stop| async move { streams.keep_streams(&stop).await });
    tasks.start("work-queues", |stop| async move {
        let is_calm = || calm.mongo().since_failure().is_none_or(|since| since > CALM_AFTER);
        work_queues::look_after(&broker, &consumers, is_calm, &stop).await;
    });
    tasks.start("clock", |stop| async move { follow_clock(&clock_ledger, lease, &stop).await });
    tasks.start("leases", |stop| async move { renew_leases(&ledger, &active, lease, &stop).await });
    tasks.start("relay", |stop| async move { relay.scan(relay_scan, &stop).await });
    tasks.start("cancels", |stop| async move { control.run(&stop).await });
    tasks.start("stops", |stop| async move { stops.subscribe_stops(&stop).await });
    tasks.start(
        "dead-cancels",
        |stop| async move { letters.take_up_dead_letters(unreadable_wait, &stop).await },
    );
    let (told, asked, logs) = (worker.broker.clone(), worker.broker.clone(), live.clone());
    tasks.start("progress", |stop| async move { live::tell::progress(&live, &told, &stop).await });
    tasks.start("logs", |stop| async move { live::tell::logs(&logs, &id, &asked, &stop).await });
    if let Some(engine) = settings.container.engine.clone() {
        let whose = containers_ledger;
        tasks
            .start("containers", |stop| async move { kinds::sweep_containers(&engine, &whose, &stop).await });
    }
    let obeying = presence.clone();
    tasks.start("heartbeats", |stop| async move { presence.beat(&stop).await });
    tasks.start("worker-control", |stop| async move { obeying.obey(&stop).await });
    tasks.start("retention", |stop| async move { retention.run(&stop).await });
    tasks
}

/// Takes runs, once the database has answered, until told to stop; or what waits now.
async fn take_runs(
    worker: &Worker,
    when: Takes,
    unreadable_wait: Duration,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let prepared = prepared(&worker.executor.ledger, stop);
    match (when, worker.executor.settings.ticks.as_ref()) {
        (Takes::WhatWaits, _) => return worker.take_once(prepared, stop).await,
        (Takes::UntilStopped, None) => {
            prepared.await;
            worker.take_always(unreadable_wait, stop).await;
        }
        (Takes::UntilStopped, Some(ticks)) => {
            prepared.await;
            worker.take_at_ticks(ticks, unreadable_wait, stop).await;
        }
    }
    Ok(())
}

/// Waits until the ledger is there, or this is told to stop.
async fn prepared(ledger: &Ledger, stop: &CancellationToken) {
    while let Err(error) = prepare(ledger).await {
        warn!(error = chain(&error), "waiting for MongoDB");
        if stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(500))).await.is_none() {
            return;
        }
    }
    info!("ledger is there; taking jobs");
}

async fn prepare(ledger: &Ledger) -> Result<(), StoreError> {
    ledger.mongo().learn_clock().await?;
    ledger.prepare().await
}

/// The code of the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding-a-kind.md")]
struct AddingAKind;
