//! A client of Hasty.
//!
//! ```no_run
//! # async fn example() -> Result<(), hasty_client::Error> {
//! use hasty_client::{Client, NewJob};
//!
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let job = client.create(&NewJob::new("shuffle")?.payload(&serde_json::json!({ "text": "hasty" }))?).await?;
//! let ended = client.wait(job.id, std::time::Duration::from_secs(60)).await?;
//! println!("{}: {:?}", ended.status, ended.result);
//! # Ok(())
//! # }
//! ```
//!
//! What was refused is [`Error::Problem`], with a stable code. Where an answer was lost, or the service says that it can not
//! do something now, a request is sent again, unless that could do something twice: a job is created under an idempotency
//! key, so that it is created once however often it is asked for.

mod client;
mod error;
mod job;
mod lists;
mod new_job;
mod overview;
mod tls;

pub use client::{Client, Settings};
pub use error::{Error, FieldError, Problem};
pub use job::{Attempt, Job};
pub use lists::Filter;
pub use new_job::NewJob;
pub use overview::{Count, Ended, QueueState, Stats, Waiting, Worker, WorkerList};
pub use shared_events::{
    JobError, JobId, JsonText, Kind, Priority, Queue, RetryPauses, Status, Timestamp, WorkerId,
    broadcasts::WorkerState,
};
pub use tls::http_client;
