//! The contract between Hasty's services, and nothing else: ids and names, the events and their
//! JSON, the subjects, streams and consumers that carry them, and the transition function that
//! says what an event may change.
//!
//! It connects to nothing and runs nothing. Neither service reads the other's database; what passes between them is defined here.

pub mod attempts;
pub mod batch;
pub mod broadcasts;
pub mod envelope;
pub mod events;
pub mod ids;
pub mod job_error;
pub mod job_event;
pub mod json_text;
pub mod live;
pub mod names;
pub mod payloads;
pub mod program_output;
pub mod retry_pauses;
pub mod rights;
pub mod status;
pub mod streams;
pub mod subjects;
pub mod timestamp;
pub mod trace;

pub use attempts::{AttemptOutcome, AttemptSummary, ShortOutput};
pub use envelope::{DecodeError, Envelope};
pub use events::{
    CancelReason, JobCancel, JobCreated, JobEnded, JobRetrying, JobStarted, Limits, MAX_EVENT_BYTES,
};
pub use ids::{JobId, RunId, WorkerId};
pub use job_error::JobError;
pub use job_event::JobEvent;
pub use json_text::JsonText;
pub use live::JobProgress;
pub use names::{BadName, Kind, Priority, Queue};
pub use program_output::{Captured, ProgramOutput};
pub use retry_pauses::RetryPauses;
pub use status::{Position, Status, transition};
pub use timestamp::Timestamp;
pub use trace::TraceContext;
