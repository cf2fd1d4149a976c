//! Removes messages of work queues that the server has as acked and has kept all the same.
//!
//! The server writes what a consumer has acked and what the stream has removed one after the other, so one that dies
//! between can come back with the first alone. No consumer gets such a message again, and it would take room for as long
//! as the stream keeps messages.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use shared_events::streams::ConsumerDefinition;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Broker;
use crate::{retry::jittered, telemetry::chain};

/// How often they are looked for, besides after every connect: where acks come out of order, a message that was acked
/// is below the ack floor only later.
const EVERY: Duration = Duration::from_secs(60);

/// How soon they are looked for again where NATS did not answer, or a consumer is not there yet.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Looks for them until told to stop, after every connect and once a minute. Each consumer has messages of its own.
pub async fn remove(broker: &Broker, consumers: &[ConsumerDefinition], stop: &CancellationToken) {
    let mut connects = broker.nats().connects();
    loop {
        connects.mark_unchanged();
        let pause = match look(broker, consumers).await {
            Ok(()) => EVERY,
            Err(error) => {
                debug!(error = chain(error.as_ref()), "could not look for messages that were acked");
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = connects.changed() => {}
            () = tokio::time::sleep(jittered(pause)) => {}
        }
    }
}

async fn look(broker: &Broker, consumers: &[ConsumerDefinition]) -> anyhow::Result<()> {
    for consumer in consumers {
        remove_acked(broker, consumer).await?;
    }
    Ok(())
}

/// Everything of a consumer up to its ack floor is acked.
async fn remove_acked(broker: &Broker, definition: &ConsumerDefinition) -> anyhow::Result<()> {
    let (connection, jetstream) = (broker.nats().connection(), broker.jetstream());
    let (name, stream) = (definition.name.as_str(), definition.stream);
    let consumer = jetstream.get_consumer_from_stream::<pull::Config, _, _>(name, stream).await?;
    let info = consumer.cached_info();
    if info.ack_floor.stream_sequence == 0 {
        return Ok(());
    }
    let messages = jetstream.get_stream_no_info(stream).await?;
    // What is connected by now may be another store, whose sequences mean other messages.
    anyhow::ensure!(broker.nats().is_still(connection), "the connection is another one");
    let purge = messages.purge().sequence(info.ack_floor.stream_sequence + 1);
    let purged = match &definition.filter_subject {
        Some(subject) => purge.filter(subject).await?,
        None => purge.await?,
    };
    if purged.purged > 0 {
        info!(removed = purged.purged, stream, consumer = name, "removed messages that were acked");
    }
    Ok(())
}
