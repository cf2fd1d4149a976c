//! End-to-end tests of Hasty on real servers: what they are written with.
//!
//! [`App`] is a stack of one's own with a client; [`Client`] has one method per endpoint and works against any
//! running Hasty; [`NewJob`] builds what a client asks for, and [`JobView`] is what it reads. They are written
//! as a stranger would, from the documents and without the services' own types, so that a name that changes on
//! the wire is noticed.
//!
//! Helpers panic where something is not as it must be, and say what they saw instead.

mod answer;
mod app;
mod client;
pub mod contract;
pub mod events;
mod gate;
mod history;
mod job;
mod ledger;
mod new_job;
pub mod raw;
mod worker;

pub use answer::{Answer, FieldError, Problem};
pub use app::{App, Shared};
pub use client::Client;
pub use contract::CONTRACT;
pub use gate::Gate;
pub use history::HISTORY;
pub use job::{JobError, JobView, Status};
pub use ledger::{LedgerAttempt, LedgerRun};
pub use new_job::NewJob;
pub use raw::RawAnswer;
pub use worker::{WorkerList, WorkerView};
