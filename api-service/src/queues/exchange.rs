//! The replicas tell each other what has ended: each applies a share of the events. It may be lost, and then they count too
//! few.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use service_kit::Broker;
use shared_events::{
    broadcasts::{EndedInQueue, EndedJobs},
    subjects,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Ended, EndedCounts};

/// How often a replica tells the others.
const EVERY: Duration = Duration::from_secs(1);

/// Tells and listens, until told to stop.
pub async fn exchange(broker: &Broker, counts: &EndedCounts, stop: &CancellationToken) {
    let subscribed = broker.nats().client().subscribe(subjects::ENDED).await;
    let mut told = match subscribed {
        Ok(told) => told,
        Err(error) => return warn!(%error, "could not subscribe to what other replicas count"),
    };
    let replica = uuid::Uuid::new_v4().simple().to_string();
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                tell(broker, counts, &replica).await;
                continue;
            }
            message = told.next() => message,
        };
        let Some(message) = message else { return };
        match serde_json::from_slice::<EndedJobs>(&message.payload) {
            Ok(ended) if ended.replica != replica => counts.add_told(ended.queues.into_iter().map(from_wire)),
            Ok(_) => {}
            Err(error) => debug!(%error, "what another replica counts is not readable"),
        }
    }
}

async fn tell(broker: &Broker, counts: &EndedCounts, replica: &str) {
    let untold = counts.take_untold();
    if untold.is_empty() {
        return;
    }
    let queues = untold.into_iter().map(|(queue, ended)| {
        let Ended { finished, failed, cancelled } = ended;
        EndedInQueue { queue, finished, failed, cancelled }
    });
    let ended = EndedJobs { replica: replica.to_owned(), queues: queues.collect() };
    match serde_json::to_vec(&ended) {
        Ok(body) => broker.broadcast(subjects::ENDED, Bytes::from(body)).await,
        Err(error) => warn!(%error, "counts have no JSON"),
    }
}

fn from_wire(told: EndedInQueue) -> (shared_events::Queue, Ended) {
    let EndedInQueue { queue, finished, failed, cancelled } = told;
    (queue, Ended { finished, failed, cancelled })
}
