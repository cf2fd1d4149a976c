//! A service's hold on the broker: connects, publishes, and sees to it that the streams are there,
//! also after somebody deleted them or the store was lost.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream;
use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    connect::{ConnectError, Nats, NatsSettings},
    publish::{MAX_IN_FLIGHT, PublishError, Publisher, Stored},
    streams::{self, StreamSettings},
};

/// How often the streams are looked at when nothing hints that one is missing.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long one waits for a turn to publish.
const TURN_WAIT: Duration = Duration::from_millis(500);

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nats: Nats,
    publisher: Publisher,
    streams: StreamSettings,
    turns: Arc<Semaphore>,
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
        streams: StreamSettings,
        name: &str,
    ) -> Result<Self, ConnectError> {
        let nats = Nats::connect(settings, name).await?;
        let publisher = Publisher::new(nats.client().clone());
        let ensured = watch::Sender::new(0);
        let turns = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        Ok(Self(Arc::new(Inner { nats, publisher, streams, turns, missing: Notify::new(), ensured })))
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

    /// A turn to publish something in the background, so that not more is under way than the server
    /// acknowledges; none where it takes too long, or at once where there is no connection.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turns = Arc::clone(&self.0.turns);
        if !self.0.nats.is_connected() {
            return turns.try_acquire_owned().ok();
        }
        tokio::time::timeout(TURN_WAIT, turns.acquire_owned()).await.ok()?.ok()
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
        if !self.0.nats.is_connected() {
            return Err(PublishError::NoAnswer("not connected".to_owned()));
        }
        let stored = self.0.publisher.publish(subject, message_id, body).await;
        if matches!(stored, Err(PublishError::StreamMissing)) {
            self.suspect_missing();
        }
        stored
    }

    /// Publishes on core NATS: whoever listens gets it, and it may be lost.
    pub async fn tell(&self, subject: &'static str, body: Bytes) {
        if self.0.nats.is_connected()
            && let Err(error) = self.0.nats.client().publish(subject, body).await
        {
            debug!(%error, subject, "could not tell");
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
                match streams::ensure(self.jetstream(), &self.0.streams).await {
                    Ok(()) => self.0.ensured.send_modify(|count| *count += 1),
                    Err(error) => {
                        warn!(?error, "streams are not all there");
                    }
                }
            }
            // At random within half a second, so that replicas do not all ask at the same instant.
            let jitter = Duration::from_millis(rand::random_range(50..500));
            let hint = async {
                tokio::select! {
                    _ = connects.changed() => {}
                    () = self.0.missing.notified() => tokio::time::sleep(jitter).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tokio::time::timeout(LOOK_EVERY, hint) => {}
            }
        }
    }
}
