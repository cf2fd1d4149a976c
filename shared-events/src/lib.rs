//! The contract between Hasty's services, and nothing else: ids and names, the events and their
//! JSON, the subjects, streams and consumers that carry them, and the transition function that
//! says what an event may change.
//!
//! Neither service reads the other's database; what passes between them is defined here.

pub mod batch;
pub mod broker;
pub mod connect;
pub mod consume;
pub mod envelope;
pub mod events;
pub mod ids;
pub mod json_text;
pub mod names;
pub mod payloads;
pub mod publish;
pub mod status;
pub mod streams;
pub mod subjects;
pub mod timestamp;
pub mod trace;
pub mod unreadable;

pub use broker::Broker;
pub use envelope::{DecodeError, Envelope};
pub use events::{
    AttemptOutcome, AttemptSummary, CancelReason, JobCancel, JobCreated, JobEnded, JobError, JobEvent,
    JobRetrying, JobStarted, Limits, MAX_EVENT_BYTES,
};
pub use ids::{JobId, RunId, WorkerId};
pub use json_text::JsonText;
pub use names::{Kind, Priority, Queue};
pub use status::{Position, Status, transition};
pub use timestamp::Timestamp;
pub use trace::TraceContext;
