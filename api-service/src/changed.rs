//! What the replicas tell each other: which jobs changed to what, one core NATS message for each
//! applied batch. It may be lost; it only wakes those who wait.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use shared_events::{Broker, JobEvent, JobId, Status, subjects};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{noting::Noting, waiters::Waiters};

/// Tells, and hears.
#[derive(Clone)]
pub struct Changed {
    broker: Broker,
    waiters: Waiters,
    noting: Arc<Noting>,
}

/// A job, its run, and the run's new status; in JSON a list of three.
type Change = (JobId, u32, Status);

impl Changed {
    /// Prepares it.
    #[must_use]
    pub const fn new(broker: Broker, waiters: Waiters, noting: Arc<Noting>) -> Self {
        Self { broker, waiters, noting }
    }

    /// Tells all replicas, this one first.
    pub async fn tell(&self, events: &[JobEvent]) {
        let changes: Vec<Change> = events
            .iter()
            .map(|event| (event.run_id().job, event.run_id().run, event.position().status))
            .collect();
        self.act_on(&changes);
        match serde_json::to_vec(&changes) {
            Ok(body) => self.broker.tell(subjects::CHANGED, Bytes::from(body)).await,
            Err(error) => warn!(%error, "changes have no JSON"),
        }
    }

    /// Hears what other replicas tell, until told to stop.
    pub async fn hear(&self, stop: &CancellationToken) {
        let subscribed = self.broker.nats().client().subscribe(subjects::CHANGED).await;
        let mut told = match subscribed {
            Ok(told) => told,
            Err(error) => return warn!(%error, "does not hear of other replicas' changes"),
        };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = told.next() => message,
            };
            let Some(message) = message else { return };
            match serde_json::from_slice::<Vec<Change>>(&message.payload) {
                Ok(changes) => self.act_on(&changes),
                Err(error) => debug!(%error, "another replica's news is not readable"),
            }
        }
    }

    fn act_on(&self, changes: &[Change]) {
        let ended =
            || changes.iter().filter(|(_, _, status)| status.is_terminal()).map(|(job, run, _)| (*job, *run));
        self.noting.forget(ended());
        self.waiters.tell_ended(ended());
    }
}
