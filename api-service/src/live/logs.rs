//! The log of a job's latest attempt: asked for at its worker while it is made, and then what is kept of it.

use std::time::Duration;

use service_kit::Broker;
use shared_events::{
    Captured, ProgramOutput, Status, Timestamp, WorkerId,
    live::{LogLine, LogRequest, LogSource, LogTail},
    subjects,
};
use tokio::time::timeout;
use tracing::debug;

use crate::{jobs::Job, workers::ControlError};

/// How long a worker may take to reply.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks workers for logs. Copies share it.
#[derive(Debug, Clone)]
pub struct Logs(Broker);

impl Logs {
    /// Asks them over this broker.
    #[must_use]
    pub const fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// The last lines of the job's latest attempt, at most so many.
    ///
    /// # Errors
    /// Where its worker does not reply.
    pub async fn tail(&self, job: &Job, most: u32) -> Result<Vec<LogLine>, ControlError> {
        match job.worker.as_ref().filter(|_| job.status == Status::Running) {
            Some(worker) => self.ask(job, worker, most).await,
            None => Ok(kept(job, usize::try_from(most).unwrap_or(usize::MAX))),
        }
    }

    async fn ask(&self, job: &Job, worker: &WorkerId, tail: u32) -> Result<Vec<LogLine>, ControlError> {
        let silent = || ControlError::NoAnswer(worker.clone());
        let request = LogRequest {
            worker: worker.clone(),
            job: job.job_id(),
            run: job.run,
            attempt: job.attempt,
            tail,
        };
        let body = serde_json::to_vec(&request).map_err(|_| silent())?;
        let reply = timeout(TIMEOUT, self.0.nats().client().request(subjects::LOGS, body.into())).await;
        let reply = reply.map_err(|_| silent())?.map_err(|error| {
            debug!(%error, "a worker was not asked for a log");
            silent()
        })?;
        serde_json::from_slice::<LogTail>(&reply.payload).map(|tail| tail.lines).map_err(|_| silent())
    }
}

/// What is kept of the latest attempt that has ended: what its handler logged last, and what its program wrote last.
fn kept(job: &Job, most: usize) -> Vec<LogLine> {
    let mut all = job.attempts.last().map(|attempt| attempt.log.clone()).unwrap_or_default();
    all.extend(of_output(job));
    all.drain(..all.len().saturating_sub(most));
    all
}

/// The standard output of the program, then its standard error.
fn of_output(job: &Job) -> Vec<LogLine> {
    let text = job.result.as_deref().or(job.output.as_deref());
    let Some(output) = text.and_then(|text| serde_json::from_str::<ProgramOutput>(text).ok()) else {
        return Vec::new();
    };
    let at = job.attempts.last().map_or(Timestamp::from_millis(0), |attempt| attempt.ended_at);
    let lines = |from: LogSource, captured: &Captured| {
        captured.text.lines().map(|line| LogLine::new(at, from, line)).collect::<Vec<_>>()
    };
    let mut all = lines(LogSource::Stdout, &output.stdout);
    all.extend(lines(LogSource::Stderr, &output.stderr));
    all
}
