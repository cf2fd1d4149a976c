//! Hears the workers. While none says anything, this replica says something to itself, to know whether it hears.

use std::time::Duration;

use async_nats::{Message, SubscribeError};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use shared_events::{broadcasts::Heartbeat, subjects};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Moment, Workers};

/// After how long a silence this replica says something to itself.
const SILENCE: Duration = Duration::from_secs(1);

impl Workers {
    /// Hears the workers until told to stop.
    pub async fn listen(&self, stop: &CancellationToken) {
        let mut messages = match self.subscribe().await {
            Ok(messages) => messages,
            Err(error) => return warn!(%error, "could not subscribe to heart-beats; no worker will be shown"),
        };
        let mut echo = tokio::time::interval(SILENCE);
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                _ = echo.tick() => {
                    if self.registry().silence(Moment::now()) >= SILENCE {
                        self.0.broker.broadcast(subjects::WORKER_ECHO, Bytes::new()).await;
                    }
                    continue;
                }
                message = messages.next() => message,
            };
            let Some(message) = message else { return };
            self.take_in(&message);
            self.0.heard.send_replace(());
        }
    }

    async fn subscribe(&self) -> Result<impl Stream<Item = Message> + use<>, SubscribeError> {
        let client = self.0.broker.nats().client();
        let heartbeats = client.subscribe(subjects::WORKER_HEARTBEAT).await?;
        let echoes = client.subscribe(subjects::WORKER_ECHO).await?;
        Ok(stream::select(heartbeats, echoes))
    }

    fn take_in(&self, message: &Message) {
        let (mut registry, now) = (self.registry(), Moment::now());
        if message.subject.as_str() == subjects::WORKER_ECHO {
            return registry.hears(now);
        }
        match serde_json::from_slice::<Heartbeat>(&message.payload) {
            Ok(heartbeat) => registry.heartbeat(heartbeat, now),
            Err(error) => debug!(%error, "a heart-beat is not readable"),
        }
    }
}
