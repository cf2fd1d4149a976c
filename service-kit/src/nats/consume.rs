//! Reading a stream in batches, for ever: a consumer that is gone, silent or broken is made anew.

use std::time::Duration;

use async_nats::jetstream::{
    AckKind, Message,
    consumer::{PullConsumer, pull::MessagesError},
};
use futures::StreamExt;
use shared_events::streams::ConsumerDefinition;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Broker, streams};
use crate::{
    batch::{BatchLimits, Batcher},
    retry,
};

/// Who handles the messages of a stream.
pub trait Consumer: Send + Sync {
    /// How large a batch grows.
    const BATCH: BatchLimits;
    /// How many messages may be on their way here.
    const AHEAD: usize;
    /// How many bytes of them: the server is asked for as many again when half of them have come. No message is
    /// larger than this.
    const AHEAD_BYTES: usize = 8 << 20;

    /// What the consumer is created with where it is missing.
    fn definition(&self) -> impl Future<Output = Result<ConsumerDefinition, async_nats::Error>> + Send;

    /// Handles a batch, in the stream's order; then it is acked, but for what is given back.
    fn handle(&self, messages: &[Message]) -> impl Future<Output = Handled> + Send;
}

/// The most bytes of a batch, where nothing speaks for another limit.
pub const BATCH_BYTES: usize = 4 << 20;

/// What follows from a batch that was handled.
#[derive(Debug)]
pub struct Handled {
    /// Until when the next batch is to grow, unless it has enough messages before; the past where it need not.
    pub grow_until: Instant,
    /// The places in the batch of messages that are not done with, and after how long each is to come again.
    pub given_back: Vec<(usize, Duration)>,
}

/// Reads until told to stop.
pub async fn run<C: Consumer>(broker: &Broker, consumer: &C, stop: &CancellationToken) {
    loop {
        if let Err(error) = read(broker, consumer, stop).await {
            debug!(error, "reading is interrupted; looking for the consumer again");
        }
        broker.suspect_missing();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retry::moment()) => {}
        }
    }
}

/// Reads until stopped, or until the consumer is to be looked for again.
async fn read<C: Consumer>(
    broker: &Broker,
    consumer: &C,
    stop: &CancellationToken,
) -> Result<(), async_nats::Error> {
    let (mut connects, connection) = (broker.nats().connects(), broker.nats().connection());
    connects.mark_unchanged();
    let definition = consumer.definition().await?;
    let messages = messages::<C>(streams::consumer(broker.jetstream(), &definition).await?).await?;
    let mut batches = Batcher::new(messages.fuse(), C::BATCH);
    let mut grow_until = Instant::now();
    loop {
        let first = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Whatever is connected now may be another store, without this consumer.
            _ = connects.changed() => return Ok(()),
            first = batches.first() => first,
        };
        let Some(first) = first else { return Ok(()) };
        let first = Ok(first?);
        // An error comes after the messages before it.
        let size =
            |message: &Result<Message, MessagesError>| message.as_ref().ok().map(|message| message.length);
        let batch: Vec<Message> =
            batches.fill(first, grow_until, size).await.into_iter().collect::<Result<_, _>>()?;
        let handled = consumer.handle(&batch).await;
        grow_until = handled.grow_until;
        // In another store the same acks would be taken for those of other messages.
        let is_gone = matches!(batches.peek(), None | Some(Some(Err(_))));
        if !is_gone && broker.nats().is_still(connection) {
            answer(&batch, &handled.given_back).await;
        }
    }
}

async fn messages<C: Consumer>(
    consumer: PullConsumer,
) -> Result<async_nats::jetstream::consumer::pull::Stream, async_nats::Error> {
    let messages = consumer
        .stream()
        .max_messages_per_batch(C::AHEAD)
        .max_bytes_per_batch(C::AHEAD_BYTES)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await?;
    Ok(messages)
}

/// Where an answer gets lost, the message comes again, and changes nothing.
async fn answer(batch: &[Message], given_back: &[(usize, Duration)]) {
    let mut answers = vec![AckKind::Ack; batch.len()];
    for (place, pause) in given_back {
        answers[*place] = AckKind::Nak(Some(*pause));
    }
    for (message, answer) in batch.iter().zip(answers) {
        if let Err(error) = message.ack_with(answer).await {
            debug!(%error, "answer not sent");
        }
    }
}
