//! Reading a stream in batches, for ever: a consumer that is gone, silent or broken is made anew.

use std::time::Duration;

use async_nats::jetstream::{Message, consumer::pull};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{Broker, streams};

/// Who reads a stream.
pub trait Reader: Send + Sync {
    /// The stream.
    const STREAM: &'static str;
    /// The most messages of one batch.
    const BATCH: usize;
    /// How many messages may be on their way here.
    const AHEAD: usize;

    /// What the consumer is created with where it is missing.
    fn definition(&self) -> impl Future<Output = Result<pull::Config, async_nats::Error>> + Send;

    /// Takes a batch, in the stream's order, and acks it.
    fn take(&self, messages: Vec<Message>) -> impl Future<Output = ()> + Send;
}

/// Reads until told to stop.
pub async fn read<R: Reader>(broker: &Broker, reader: &R, stop: &CancellationToken) {
    loop {
        match read_once(broker, reader, stop).await {
            Ok(()) => {}
            Err(error) => {
                debug!(error, stream = R::STREAM, "reading is interrupted; looking for the consumer again");
            }
        }
        broker.suspect_missing();
        let jitter = Duration::from_millis(rand::random_range(50..500));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jitter) => {}
        }
    }
}

async fn read_once<R: Reader>(
    broker: &Broker,
    reader: &R,
    stop: &CancellationToken,
) -> Result<(), async_nats::Error> {
    let mut connects = broker.nats().connects();
    connects.mark_unchanged();
    let definition = reader.definition().await?;
    let consumer = streams::consumer::<pull::Config>(broker.jetstream(), R::STREAM, definition).await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(R::AHEAD)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await?;
    let mut batches = messages.ready_chunks(R::BATCH);
    loop {
        let batch = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Whatever is connected now may be another store, without this consumer.
            _ = connects.changed() => return Ok(()),
            batch = batches.next() => batch,
        };
        let Some(batch) = batch else { return Ok(()) };
        // What came before an error is taken; the error then ends this consumer's stream.
        let (mut messages, mut broken) = (Vec::with_capacity(batch.len()), None);
        for message in batch {
            match message {
                Ok(message) => messages.push(message),
                Err(error) => broken = Some(error),
            }
        }
        reader.take(messages).await;
        if let Some(error) = broken {
            return Err(error.into());
        }
    }
}
