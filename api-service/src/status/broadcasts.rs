//! The replicas' broadcasts: which jobs changed to what, one core NATS message for each applied batch. It may be lost; it
//! only wakes those who wait.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use service_kit::Broker;
use shared_events::{JobEvent, broadcasts::Changed, subjects};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    jobs::{Ends, Job, Waiters},
    outbox::Unmarking,
    queues::{Ended, EndedCounts},
};

/// Publishes broadcasts, and acts on them.
#[derive(Clone)]
pub struct Broadcasts {
    broker: Broker,
    waiters: Waiters,
    unmarking: Arc<Unmarking>,
    ended: EndedCounts,
}

impl Broadcasts {
    /// Prepares it.
    #[must_use]
    pub const fn new(
        broker: Broker,
        waiters: Waiters,
        unmarking: Arc<Unmarking>,
        ended: EndedCounts,
    ) -> Self {
        Self { broker, waiters, unmarking, ended }
    }

    /// Publishes what these events have changed, and acts on it here first.
    pub async fn publish(&self, events: &[JobEvent]) {
        let change = |event: &JobEvent| (event.run_id().job, event.run_id().run, event.position().status);
        self.publish_changes(Changed(events.iter().map(change).collect())).await;
    }

    async fn publish_changes(&self, changes: Changed) {
        self.act_on(&changes);
        match serde_json::to_vec(&changes) {
            Ok(body) => self.broker.broadcast(subjects::CHANGED, Bytes::from(body)).await,
            Err(error) => warn!(%error, "changes have no JSON"),
        }
    }

    /// Acts on other replicas' broadcasts, until told to stop.
    pub async fn subscribe(&self, stop: &CancellationToken) {
        let subscribed = self.broker.nats().client().subscribe(subjects::CHANGED).await;
        let mut broadcasts = match subscribed {
            Ok(broadcasts) => broadcasts,
            Err(error) => return warn!(%error, "could not subscribe to other replicas' broadcasts"),
        };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = broadcasts.next() => message,
            };
            let Some(message) = message else { return };
            match serde_json::from_slice::<Changed>(&message.payload) {
                Ok(changes) => self.act_on(&changes),
                Err(error) => debug!(%error, "another replica's broadcast is not readable"),
            }
        }
    }

    fn act_on(&self, Changed(changes): &Changed) {
        let ended =
            || changes.iter().filter(|(_, _, status)| status.is_terminal()).map(|(job, run, _)| (*job, *run));
        self.unmarking.forget(ended());
        self.waiters.wake(ended());
    }
}

#[async_trait]
impl Ends for Broadcasts {
    async fn tell(&self, ended: &[Job]) {
        if ended.is_empty() {
            return;
        }
        for job in ended {
            if let Some(one) = Ended::one(job.status) {
                self.ended.add(&job.queue, one);
            }
        }
        self.publish_changes(Changed(ended.iter().map(|job| (job.job_id(), job.run, job.status)).collect()))
            .await;
    }
}
