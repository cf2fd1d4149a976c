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

/// Why an event can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or no CloudEvent: no version of Hasty writes such a thing.
    #[error("no CloudEvent: {0}")]
    NotAnEvent(String),
    /// A CloudEvent of a type that this version does not know where it found it.
    #[error("event type {0:?} is not known")]
    UnknownType(String),
    /// A CloudEvent with a value, or of a shape, that this version does not know.
    #[error("event of type {event_type:?} is not readable: {why}")]
    UnknownValue {
        /// Its type, which may be a known one.
        event_type: String,
        /// What is not known about it.
        why: String,
    },
}

impl DecodeError {
    /// Whether a newer version may have written the event, and can read it.
    #[must_use]
    pub const fn may_be_newer(&self) -> bool {
        match self {
            Self::NotAnEvent(_) => false,
            Self::UnknownType(_) | Self::UnknownValue { .. } => true,
        }
    }

    /// `bytes` are no envelope as this version knows it, because of `why`.
    fn of(bytes: &[u8], why: &serde_json::Error) -> Self {
        match serde_json::from_slice::<Attributes>(bytes) {
            Ok(Attributes { event_type, .. }) => Self::UnknownValue { event_type, why: why.to_string() },
            Err(_) => Self::NotAnEvent(why.to_string()),
        }
    }
}

/// What every CloudEvent of any version has.
#[derive(Deserialize)]
struct Attributes {
    #[serde(rename = "specversion")]
    _specversion: String,
    #[serde(rename = "id")]
    _id: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "type")]
    event_type: String,
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
        // Structs can be read from lists too, which no event is.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(DecodeError::NotAnEvent("not a JSON object".to_owned()));
        }
        serde_json::from_slice(bytes).map_err(|error| DecodeError::of(bytes, &error))
    }

    /// Reads the data.
    pub(crate) fn read<T: Deserialize<'a>>(self) -> Result<Envelope<T>, DecodeError> {
        let data = match serde_json::from_str(self.data.get()) {
            Ok(data) => data,
            Err(error) => {
                let why = error.to_string();
                return Err(DecodeError::UnknownValue { event_type: self.event_type, why });
            }
        };
        Ok(Envelope {
            specversion: self.specversion,
            id: self.id,
            source: self.source,
            event_type: self.event_type,
            subject: self.subject,
            time: self.time,
            traceparent: self.traceparent,
            data,
        })
    }
}
