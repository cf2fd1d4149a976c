//! The broker as a service uses it: connects, publishes, and sees to it that the streams are there,
//! also after somebody deleted them or the store was lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream;
use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use shared_events::{MAX_EVENT_BYTES, streams::StreamDefinition};

use super::{
    client::{ConnectError, Nats, NatsSettings},
    publish::{MAX_IN_FLIGHT, PublishError, Publisher, Stored},
    streams,
};
use crate::{metrics, retry};

/// How often the streams are looked at when nothing hints that one is missing.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long one waits for a permit to publish.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(500);

/// The most bytes of what has a permit.
const PERMIT_BYTES: usize = 16 << 20;

/// What a permit counts at least, in bytes, so that there are no more permits than publishes may be in flight.
const LEAST_PERMIT: usize = PERMIT_BYTES / MAX_IN_FLIGHT;

/// The most bytes that were handed to the client and are neither acknowledged nor known to have left it.
const UNSENT_BYTES: usize = 8 << 20;

/// How long a publish waits for room among these.
const UNSENT_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nats: Nats,
    publisher: Publisher,
    streams: Vec<StreamDefinition>,
    permits: Arc<Semaphore>,
    unsent: Arc<Semaphore>,
    too_large: AtomicU64,
    missing: Notify,
    ensured: watch::Sender<u64>,
}

impl Broker {
    /// Starts connecting. `name` is what the server's monitoring shows.
    ///
    /// # Errors
    /// [`ConnectError`] for addresses that can not be parsed; an absent server is no error.
    pub async fn connect(
        settings: &NatsSettings,
        streams: Vec<StreamDefinition>,
        name: &str,
    ) -> Result<Self, ConnectError> {
        let nats = Nats::connect(settings, name).await?;
        let publisher = Publisher::new(nats.client().clone());
        let ensured = watch::Sender::new(0);
        let permits = Arc::new(Semaphore::new(PERMIT_BYTES));
        let unsent = Arc::new(Semaphore::new(UNSENT_BYTES));
        let (too_large, missing) = (AtomicU64::new(0), Notify::new());
        Ok(Self(Arc::new(Inner { nats, publisher, streams, permits, unsent, too_large, missing, ensured })))
    }

    /// The connection.
    #[must_use]
    pub fn nats(&self) -> &Nats {
        &self.0.nats
    }

    /// JetStream's API.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        self.0.publisher.jetstream()
    }

    /// Changes each time that all streams were seen to be there.
    #[must_use]
    pub fn ensured(&self) -> watch::Receiver<u64> {
        self.0.ensured.subscribe()
    }

    /// A permit to publish something of so many bytes in the background, so that what is under way is bounded, in number
    /// as in bytes; none where it takes too long, or at once where there is no connection.
    pub async fn permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.0.permits);
        let bytes = count(bytes.clamp(LEAST_PERMIT, PERMIT_BYTES));
        if !self.0.nats.is_connected() {
            return permits.try_acquire_many_owned(bytes).ok();
        }
        tokio::time::timeout(PERMIT_TIMEOUT, permits.acquire_many_owned(bytes)).await.ok()?.ok()
    }

    /// Publishes and waits for the PubAck.
    ///
    /// # Errors
    /// See [`PublishError`]; while there is no connection, at once.
    pub async fn publish(
        &self,
        subject: String,
        message_id: Option<&str>,
        body: Bytes,
    ) -> Result<Stored, PublishError> {
        let begun = Instant::now();
        if !self.0.nats.is_connected() {
            metrics::BROKER_PUBLISHES.add(["no_answer"], 1);
            return Err(PublishError::NoAnswer("not connected".to_owned()));
        }
        let unsent = self.room_for(body.len()).await?;
        let stored = self.0.publisher.publish(subject, message_id, body).await;
        count_publish(&stored, begun);
        match &stored {
            Err(PublishError::StreamMissing) => self.suspect_missing(),
            Err(PublishError::NoAnswer(_)) => self.keep_until_sent(unsent),
            Err(PublishError::TooLarge(why)) => {
                let count = self.0.too_large.fetch_add(1, Ordering::Relaxed) + 1;
                error!(why, count, "an event is too large for the broker and can not be published");
            }
            Err(PublishError::Refused(_)) | Ok(_) => {}
        }
        stored
    }

    /// How many publishes were refused because the event is larger than the server's `max_payload`.
    #[must_use]
    pub fn too_large(&self) -> u64 {
        self.0.too_large.load(Ordering::Relaxed)
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, PublishError> {
        let room = Arc::clone(&self.0.unsent).acquire_many_owned(count(bytes.min(UNSENT_BYTES)));
        match tokio::time::timeout(UNSENT_TIMEOUT, room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => {
                Err(PublishError::NoAnswer("too much waits to be sent already".to_owned()))
            }
        }
    }

    /// Where no PubAck came, the message may still lie in the client's buffers: a server that hangs takes nothing
    /// from its connection. It counts until the client has written all that it was given before.
    fn keep_until_sent(&self, unsent: OwnedSemaphorePermit) {
        let client = self.0.nats.client().clone();
        tokio::spawn(async move {
            if let Err(error) = client.flush().await {
                debug!(%error, "the client has ended");
            }
            drop(unsent);
        });
    }

    /// Publishes on core NATS: whoever has subscribed gets it, and it may be lost.
    pub async fn broadcast(&self, subject: &'static str, body: Bytes) {
        if self.0.nats.is_connected()
            && let Err(error) = self.0.nats.client().publish(subject, body).await
        {
            debug!(%error, subject, "broadcast not published");
        }
    }

    /// Has the streams looked at soon: one seems to be missing.
    pub fn suspect_missing(&self) {
        self.0.missing.notify_one();
    }

    /// Creates missing streams: after every connect, when one is missed, and now and then.
    pub async fn keep_streams(&self, stop: &CancellationToken) {
        let mut connects = self.0.nats.connects();
        loop {
            if self.0.nats.is_connected() {
                let max_payload = self.0.nats.client().max_payload();
                if max_payload < MAX_EVENT_BYTES {
                    warn!(
                        max_payload,
                        "the server's max_payload is less than the largest event has: {MAX_EVENT_BYTES}"
                    );
                }
                match streams::ensure(self.jetstream(), &self.0.streams).await {
                    Ok(()) => self.0.ensured.send_modify(|count| *count += 1),
                    Err(error) => {
                        warn!(?error, "streams are not all there");
                    }
                }
            }
            // Replicas do not all ask at the same instant.
            let moment = retry::moment();
            let hint = async {
                tokio::select! {
                    _ = connects.changed() => {}
                    () = self.0.missing.notified() => tokio::time::sleep(moment).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tokio::time::timeout(LOOK_EVERY, hint) => {}
            }
        }
    }
}

fn count_publish(stored: &Result<Stored, PublishError>, begun: Instant) {
    let outcome = match stored {
        Ok(Stored { duplicate: false, .. }) => "stored",
        Ok(Stored { duplicate: true, .. }) => "duplicate",
        Err(PublishError::StreamMissing) => "stream_missing",
        Err(PublishError::Refused(_)) => "refused",
        Err(PublishError::TooLarge(_)) => "too_large",
        Err(PublishError::NoAnswer(_)) => "no_answer",
    };
    metrics::BROKER_PUBLISHES.add([outcome], 1);
    if stored.is_ok() {
        metrics::BROKER_PUBLISH_SECONDS.record([], begun.elapsed().as_secs_f64());
    }
}

fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
