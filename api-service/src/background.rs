//! What runs beside the server, until the replica stops.

use std::sync::Arc;

use service_kit::{BackgroundTasks, Broker, batch::BatchPacing, nats::messages::MessageReader};
use shared_events::streams;

use crate::{
    jobs::{Jobs, OwnRetention, Retention},
    live::Progresses,
    outbox::{OutboxStore, Reconciler, Relay, StreamGenerations, StreamStates, Unmarking},
    queues::{Queues, exchange},
    schedules::Scheduler,
    settings::Settings,
    status::{AppliedBytes, Broadcasts, Events, MakeRoom, PACING, StatusStore, StreamOrder, UnmatchedEvents},
    users::UserStore,
    workers::Workers,
};

/// What background tasks are made of.
pub(crate) struct Parts {
    pub(crate) jobs: Jobs,
    pub(crate) queues: Queues,
    pub(crate) users: UserStore,
    pub(crate) scheduler: Scheduler,
    pub(crate) unmarking: Arc<Unmarking>,
    pub(crate) generations: StreamGenerations,
    pub(crate) states: StreamStates,
    pub(crate) store: OutboxStore,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) workers: Workers,
    pub(crate) progresses: Progresses,
    pub(crate) settings: Settings,
}

/// The list of background tasks.
pub(crate) fn background_tasks(broker: &Broker, relay: &Relay, parts: Parts) -> BackgroundTasks {
    let Parts {
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
    } = parts;
    let (mongo, wait) = (jobs.mongo().clone(), settings.common.unreadable_wait);
    let applied = Arc::<AppliedBytes>::default();
    let reconciler = Reconciler {
        broker: broker.clone(),
        store: store.clone(),
        states: states.clone(),
        generations: generations.clone(),
        unmarking: Arc::clone(&unmarking),
        relay: relay.clone(),
        silent_after: settings.jobs.silent_after,
    };
    let events = Arc::new(Events {
        broker: broker.clone(),
        store: StatusStore::new(mongo.clone()),
        states,
        broadcasts: broadcasts.clone(),
        applied: Arc::clone(&applied),
        pacing: BatchPacing::new(PACING),
        messages: MessageReader::new(streams::JOB_EVENTS, mongo.clock().clone(), wait),
        order: StreamOrder::new(generations.events),
        ended: queues.ended().clone(),
        unmatched: UnmatchedEvents::default(),
    });
    let make_room = MakeRoom::new(broker.clone(), applied);
    let retention = Retention { jobs: jobs.clone(), kept: settings.common.retention };
    let own_retention = OwnRetention { jobs: jobs.clone(), kept: settings.common.retention };
    let (letters, reconcile) = (Arc::clone(&events), settings.jobs.reconcile);

    let mut tasks = BackgroundTasks::new();
    let (counted, heard, promoter) = (broker.clone(), broker.clone(), relay.clone());
    let (broker, relay) = (broker.clone(), relay.clone());
    tasks.start("streams", |stop| async move { broker.keep_streams(&stop).await });
    let members = mongo.clone();
    tasks.start("secondaries", |stop| async move { members.measure_secondaries(&stop).await });
    tasks.start("users", |stop| async move { users.prepare_soon(&stop).await });
    tasks.start("schedules", |stop| async move { scheduler.run(&stop).await });
    tasks.start("database", |stop| async move { jobs.prepare_and_follow_clock(&stop).await });
    tasks.start("relay", |stop| async move { relay.scan(&stop).await });
    tasks.start("promotion", |stop| async move { promoter.promote(&stop).await });
    tasks.start("unmarking", |stop| async move { unmarking.run(&store, &stop).await });
    tasks.start("reconciler", |stop| async move { reconciler.run(reconcile, &stop).await });
    tasks.start("events", |stop| async move { events.run(&stop).await });
    tasks.start("broadcasts", |stop| async move { broadcasts.subscribe(&stop).await });
    tasks.start("ended-counts", |stop| async move { exchange(&counted, queues.ended(), &stop).await });
    tasks.start("workers", |stop| async move { workers.listen(&stop).await });
    tasks.start("progress", |stop| async move { progresses.listen(&heard, &stop).await });
    tasks.start("room", |stop| async move { make_room.run(&stop).await });
    tasks.start("dead-letters", |stop| async move {
        mongo.take_up_dead_letters(letters.as_ref(), wait, &stop).await;
    });
    tasks.start("retention", |stop| async move { retention.run(&stop).await });
    tasks.start("own-retention", |stop| async move { own_retention.run(&stop).await });
    tasks
}
