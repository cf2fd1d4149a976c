//! Replicas' schedulers that look when a test tells them to, and what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api_service::jobs::{Creator, Ends, Job, Jobs, Lifecycle, NextAction, Outbox, Waiters};
use api_service::schedules::{ScheduleStore, Scheduler};
use service_kit::Mongo;
use shared_events::Queue;

use super::*;

/// Announces nothing: what is looked at is what is stored. May have no room.
#[derive(Default)]
pub(super) struct Silent {
    pub(super) is_full: AtomicBool,
}

#[async_trait::async_trait]
impl Outbox for Silent {
    fn is_full(&self, _: &Queue) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    fn mark_for(&self, _: &Queue) -> NextAction {
        NextAction::Announce
    }

    async fn announce_soon(&self, _: Arc<Job>) {}

    fn wake(&self) {}
}

#[async_trait::async_trait]
impl Ends for Silent {
    async fn tell(&self, _: &[Job]) {}
}

/// A replica's scheduler, as the api-service makes it, and its outbox.
pub(super) async fn scheduler(uri: &str) -> (Scheduler, Arc<Silent>) {
    let mongo = Mongo::connect(uri, "hasty_own_clock", "test").await.unwrap();
    mongo.learn_clock().await.unwrap();
    let silent = Arc::new(Silent::default());
    let (jobs, outbox) = (Jobs::new(mongo.clone()), Arc::clone(&silent) as Arc<dyn Outbox>);
    let (window, after) = (Duration::from_secs(300), Duration::from_secs(10));
    let scheduler = Scheduler {
        store: ScheduleStore::new(mongo),
        creator: Creator::new(jobs.clone(), Arc::clone(&outbox), window, after),
        lifecycle: Lifecycle::new(jobs.clone(), outbox, silent.clone(), Waiters::default(), after),
        jobs,
        kept: Duration::from_secs(400 * 86_400),
        wake: Arc::default(),
    };
    (scheduler, silent)
}
