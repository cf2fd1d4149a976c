//! Publishing: only a PubAck means that the server has stored an event.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{self, context::PublishErrorKind},
};
use bytes::Bytes;

/// How long a PubAck may take.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The most publishes of one publisher that may await their PubAck.
pub(crate) const MAX_IN_FLIGHT: usize = 4096;

/// Publishes events with many PubAcks under way at once.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    jetstream: jetstream::Context,
}

/// The server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream; of a duplicate, that of the first.
    pub sequence: u64,
    /// Whether the stream had it already.
    pub duplicate: bool,
}

/// Why it is not known to be stored. Each but [`PublishError::TooLarge`] may be tried again; what was stored after all is a
/// duplicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No stream takes this subject: it is to be created again.
    #[error("no stream takes the subject")]
    StreamMissing,
    /// The stream is full.
    #[error("the stream refuses the message: {0}")]
    Refused(String),
    /// It is larger than the server's `max_payload`, and will be so every time.
    #[error("the message is too large for the server: {0}")]
    TooLarge(String),
    /// No PubAck came in time, or the connection broke.
    #[error("no answer from the server: {0}")]
    NoAnswer(String),
}

impl Publisher {
    /// A publisher over this connection.
    #[must_use]
    pub(super) fn new(client: async_nats::Client) -> Self {
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(ACK_TIMEOUT)
            .max_ack_inflight(MAX_IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client);
        Self { jetstream }
    }

    /// The JetStream context, for everything that is not publishing.
    #[must_use]
    pub(super) const fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Publishes and waits for the PubAck. `message_id` lets the stream drop duplicates within its window.
    ///
    /// # Errors
    /// [`PublishError`].
    pub(super) async fn publish(
        &self,
        subject: String,
        message_id: Option<&str>,
        body: Bytes,
    ) -> Result<Stored, PublishError> {
        let ack = match message_id {
            Some(id) => {
                let mut headers = HeaderMap::new();
                headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
                self.jetstream.publish_with_headers(subject, headers, body).await
            }
            None => self.jetstream.publish(subject, body).await,
        };
        let ack = ack.map_err(|error| PublishError::of(&error))?;
        let stored = ack.await.map_err(|error| PublishError::of(&error))?;
        Ok(Stored { sequence: stored.sequence, duplicate: stored.duplicate })
    }
}

impl PublishError {
    fn of(error: &jetstream::context::PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::StreamNotFound => Self::StreamMissing,
            PublishErrorKind::MaxPayloadExceeded => Self::TooLarge(error.to_string()),
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Self::NoAnswer(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}
