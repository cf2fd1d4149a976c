//! Reading a stream in batches, for ever: a consumer that is gone, silent or broken is made anew.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use async_nats::jetstream::{
    AckKind, Message,
    consumer::{pull, pull::MessagesError},
};
use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{Broker, streams};

/// Who reads a stream.
pub trait Reader: Send + Sync {
    /// The stream.
    const STREAM: &'static str;
    /// The most messages of one batch.
    const BATCH: usize;
    /// A batch that has so many bytes does not grow further.
    const BATCH_BYTES: usize = 4 << 20;
    /// A batch of so many messages need not grow.
    const ENOUGH: usize;
    /// How many messages may be on their way here.
    const AHEAD: usize;
    /// How many bytes of them: the server is asked for as many again when half of them have come. No message is
    /// larger than this.
    const AHEAD_BYTES: usize = 8 << 20;

    /// What the consumer is created with where it is missing.
    fn definition(&self) -> impl Future<Output = Result<pull::Config, async_nats::Error>> + Send;

    /// Takes a batch, in the stream's order; then it is acked, but for what is given back.
    fn take(&self, messages: &[Message]) -> impl Future<Output = Taken> + Send;
}

/// What follows from a batch that was taken.
#[derive(Debug)]
pub struct Taken {
    /// Until when the next batch is to grow, unless it has [`Reader::ENOUGH`] messages before; the past where it
    /// need not.
    pub grow_until: Instant,
    /// The places in the batch of messages that are not done with, and after how long each is to come again.
    pub given_back: Vec<(usize, Duration)>,
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
    let (mut connects, connection) = (broker.nats().connects(), broker.nats().connection());
    connects.mark_unchanged();
    let definition = reader.definition().await?;
    let consumer = streams::consumer::<pull::Config>(broker.jetstream(), R::STREAM, definition).await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(R::AHEAD)
        .max_bytes_per_batch(R::AHEAD_BYTES)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await?;
    let mut messages = messages.fuse().peekable();
    let mut grown = Instant::now();
    loop {
        let first = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Whatever is connected now may be another store, without this consumer.
            _ = connects.changed() => return Ok(()),
            first = messages.next() => first,
        };
        let Some(first) = first else { return Ok(()) };
        let (batch, broken) = grow::<R>(first?, &mut messages, grown).await;
        let taken = reader.take(&batch).await;
        grown = taken.grow_until;
        // In another store the same acks would be taken for those of other messages.
        let is_gone = matches!(Pin::new(&mut messages).peek().now_or_never(), Some(None | Some(Err(_))));
        if !is_gone && broker.nats().is_still(connection) {
            answer(&batch, &taken.given_back).await;
        }
        // What came before an error is taken; the error then ends this consumer's stream.
        if let Some(error) = broken {
            return Err(error.into());
        }
    }
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

/// A batch: its first message, what is there, and until `grown` what comes, as long as that is not enough.
async fn grow<R: Reader>(
    first: Message,
    messages: &mut (impl Stream<Item = Result<Message, MessagesError>> + Unpin),
    grown: Instant,
) -> (Vec<Message>, Option<MessagesError>) {
    let mut grown = pin!(sleep_until(grown));
    let mut bytes = first.length;
    let mut batch = vec![first];
    while batch.len() < R::BATCH && bytes < R::BATCH_BYTES {
        let next = match messages.next().now_or_never() {
            Some(next) => next,
            // A timer that is over may still take a millisecond, so it is looked at first.
            None if batch.len() >= R::ENOUGH || grown.deadline() <= Instant::now() => break,
            None => tokio::select! {
                biased;
                () = &mut grown => break,
                next = messages.next() => next,
            },
        };
        match next {
            Some(Ok(message)) => {
                bytes += message.length;
                batch.push(message);
            }
            Some(Err(error)) => return (batch, Some(error)),
            None => break,
        }
    }
    (batch, None)
}
