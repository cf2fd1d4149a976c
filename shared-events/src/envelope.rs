//! The envelope of every event: CloudEvents 1.0 in structured JSON.
//!
//! Source: CloudEvents specification 1.0.2 and its JSON event format; `traceparent` is the
//! distributed tracing extension.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{JobId, Timestamp, TraceContext};

/// An event as it travels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Always `1.0`.
    pub specversion: SpecVersion,
    /// The same for every sending of the same news, unique among all other events.
    pub id: String,
    /// Which service says it: `/hasty/api-service` or `/hasty/job-service`.
    pub source: String,
    /// The event's name, such as `job:created`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The job that it is about.
    pub subject: JobId,
    /// When it happened, by the clock of the publisher's database.
    pub time: Timestamp,
    /// The trace of the request that created the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceContext>,
    /// What happened.
    pub data: T,
}

/// The version of CloudEvents; there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecVersion {
    /// CloudEvents 1.0.
    #[serde(rename = "1.0")]
    V1,
}

/// Why the bytes of a message are not one of Hasty's events.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No CloudEvent, or its data lacks something.
    #[error("event is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A type that this version does not know.
    #[error("event type {0:?} is not known")]
    UnknownType(String),
}

impl<T: Serialize> Envelope<T> {
    /// The event as bytes to publish.
    ///
    /// # Errors
    /// Where `data` has no JSON form; none of Hasty's events is like that.
    pub fn encode(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

impl<'a> Envelope<&'a RawValue> {
    /// Reads the envelope and leaves the data for later.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Reads the data.
    pub(crate) fn read<T: Deserialize<'a>>(self) -> Result<Envelope<T>, DecodeError> {
        Ok(Envelope {
            specversion: self.specversion,
            id: self.id,
            source: self.source,
            event_type: self.event_type,
            subject: self.subject,
            time: self.time,
            traceparent: self.traceparent,
            data: serde_json::from_str(self.data.get())?,
        })
    }
}
