//! Looks after the consumers of work queues, for what the server can lose when it dies or comes back with an older copy
//! of its files: messages that nobody gets again, although they are there.
//!
//! - One that was acked. The server writes what a consumer has acked and what the stream has removed one after the other,
//!   and one that dies between can come back with the first alone. Such a message is removed: it would take room for as
//!   long as the stream keeps messages.
//! - One that is delivered by the server's account, and whose time to come again the server has forgotten. Its consumer
//!   is made anew.

mod stalled;

use std::time::Duration;

use async_nats::jetstream::consumer::{Info, pull};
use futures::TryStreamExt;
use shared_events::streams::ConsumerDefinition;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::stalled::AckFloor;
use super::{Broker, Connection};
use crate::{retry::jittered, telemetry::chain};

/// How often they are looked at, besides after every connect: where acks come out of order, a message that was acked is
/// below the ack floor only later.
const EVERY: Duration = Duration::from_secs(60);

/// How soon they are looked at again where NATS did not answer, or a consumer is not there yet.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Looks after them until told to stop: after every connect, and once a minute or as often as messages come again. Each
/// consumer has messages of its own. As long as what comes may have to be given back (`is_calm` is false), it stands still
/// with good reason.
pub async fn look_after(
    broker: &Broker,
    consumers: &[ConsumerDefinition],
    is_calm: impl Fn() -> bool,
    stop: &CancellationToken,
) {
    let mut connects = broker.nats().connects();
    let mut watched: Vec<_> = consumers.iter().map(|consumer| (consumer, AckFloor::default())).collect();
    let every = consumers.iter().map(|consumer| consumer.ack_wait).min().unwrap_or(EVERY).min(EVERY);
    loop {
        connects.mark_unchanged();
        let mut pause = every;
        for (definition, ack_floor) in &mut watched {
            if !is_calm() {
                ack_floor.forget();
            }
            if let Err(error) = look(broker, definition, ack_floor).await {
                ack_floor.forget();
                pause = every.min(AFTER_ERROR);
                let (error, consumer) = (chain(error.as_ref()), &definition.name);
                debug!(error, consumer, "could not look at a consumer of a work queue");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = connects.changed() => watched.iter_mut().for_each(|(_, ack_floor)| ack_floor.forget()),
            () = tokio::time::sleep(jittered(pause)) => {}
        }
    }
}

async fn look(
    broker: &Broker,
    definition: &ConsumerDefinition,
    ack_floor: &mut AckFloor,
) -> anyhow::Result<()> {
    let connection = broker.nats().connection();
    let (name, stream) = (definition.name.as_str(), definition.stream);
    // Before the consumer, which then counts what comes between too.
    let stored = stored(broker, definition).await?;
    let consumer = broker.jetstream().get_consumer_from_stream::<pull::Config, _, _>(name, stream).await?;
    let info = consumer.cached_info();
    if stored > info.num_pending + count(info.num_ack_pending) {
        remove_acked(broker, connection, definition, info).await?;
    }
    if ack_floor.stands_still(info) {
        make_anew(broker, connection, info).await?;
    }
    Ok(())
}

/// How many messages of a consumer's the stream has, also those that are acked and were not removed.
async fn stored(broker: &Broker, definition: &ConsumerDefinition) -> anyhow::Result<u64> {
    let messages = broker.jetstream().get_stream_no_info(definition.stream).await?;
    let Some(subject) = &definition.filter_subject else {
        return Ok(messages.get_info().await?.state.messages);
    };
    let subjects = messages.info_with_subjects(subject).await?;
    Ok(subjects.try_fold(0, |sum, (_, messages)| async move { Ok(sum + count(messages)) }).await?)
}

/// Everything of a consumer up to its ack floor is acked.
///
/// Only where there is something to remove: with each purge the server forgets which messages were given back, and they
/// come again only when their time is over.
async fn remove_acked(
    broker: &Broker,
    connection: Connection,
    definition: &ConsumerDefinition,
    info: &Info,
) -> anyhow::Result<()> {
    if info.ack_floor.stream_sequence == 0 {
        return Ok(());
    }
    let messages = broker.jetstream().get_stream_no_info(definition.stream).await?;
    ensure_is_still(broker, connection)?;
    let purge = messages.purge().sequence(info.ack_floor.stream_sequence + 1);
    let purged = match &definition.filter_subject {
        Some(subject) => purge.filter(subject).await?,
        None => purge.await?,
    };
    if purged.purged > 0 {
        let (stream, consumer) = (definition.stream, &definition.name);
        info!(removed = purged.purged, stream, consumer, "removed messages that were acked");
    }
    Ok(())
}

/// Deletes a consumer. Who reads it creates it again, and it delivers all messages that are not acked; those that
/// somebody still handles come twice, and change nothing.
async fn make_anew(broker: &Broker, connection: Connection, info: &Info) -> anyhow::Result<()> {
    let stream = broker.jetstream().get_stream_no_info(&info.stream_name).await?;
    ensure_is_still(broker, connection)?;
    stream.delete_consumer(&info.name).await?;
    warn!(
        stream = info.stream_name,
        consumer = info.name,
        unacked = info.num_ack_pending,
        "messages did not come again; consumer made anew"
    );
    Ok(())
}

/// What is connected by now may be another store, whose sequences and consumers are others.
fn ensure_is_still(broker: &Broker, connection: Connection) -> anyhow::Result<()> {
    anyhow::ensure!(broker.nats().is_still(connection), "the connection is another one");
    Ok(())
}

fn count(messages: usize) -> u64 {
    messages.try_into().unwrap_or(u64::MAX)
}
