//! What the job-service says about runs.

use crate::{
    AttemptSummary, DecodeError, Envelope, JobEnded, JobRetrying, JobStarted, MAX_EVENT_BYTES, Position,
    RunId, Status, Timestamp, TraceContext,
    attempts::fit,
    events::{JOB_SERVICE, envelope},
};

/// What the job-service says about runs, in `JOB_EVENTS`.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// An attempt began.
    Started(JobStarted),
    /// An attempt ended, the run goes on.
    Retrying(JobRetrying),
    /// The run ended: the status is a terminal one.
    Ended(Status, JobEnded),
}

impl JobEvent {
    /// The run that it is about.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        match self {
            Self::Started(JobStarted { job, run, .. })
            | Self::Retrying(JobRetrying { job, run, .. })
            | Self::Ended(_, JobEnded { job, run, .. }) => job.run(*run),
        }
    }

    /// Where the run stands by this news.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Started(started) => {
                Position { run: started.run, attempt: started.attempt, status: Status::Running }
            }
            Self::Retrying(retrying) => {
                Position { run: retrying.run, attempt: retrying.attempt + 1, status: Status::Queued }
            }
            Self::Ended(status, ended) => {
                Position { run: ended.run, attempt: ended.attempt, status: *status }
            }
        }
    }

    /// The event's name.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Started(_) => "job:started",
            Self::Retrying(_) => "job:retrying",
            Self::Ended(Status::Failed, _) => "job:failed",
            Self::Ended(Status::Cancelled, _) => "job:cancelled",
            Self::Ended(..) => "job:finished",
        }
    }

    /// The event as bytes to publish. Its id is `<run id>:<attempt>:<what happened>`.
    ///
    /// # Errors
    /// See [`Envelope::encode`].
    pub fn encode(
        &self,
        time: Timestamp,
        trace: Option<TraceContext>,
    ) -> Result<bytes::Bytes, serde_json::Error> {
        let run_id = self.run_id();
        let (event_type, attempt) = (self.event_type(), self.attempt());
        let happened = event_type.trim_start_matches("job:");
        let id = format!("{run_id}:{attempt}:{happened}");
        match self {
            Self::Started(data) => {
                envelope(id, JOB_SERVICE, event_type, run_id.job, time, trace, data).encode()
            }
            Self::Retrying(data) => {
                envelope(id, JOB_SERVICE, event_type, run_id.job, time, trace, data).encode()
            }
            Self::Ended(_, data) => {
                envelope(id, JOB_SERVICE, event_type, run_id.job, time, trace, data).encode()
            }
        }
    }

    /// Reads an event of `JOB_EVENTS`; a message may hold several, see [`crate::batch`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Envelope<Self>, DecodeError> {
        let raw = Envelope::open(bytes)?;
        match raw.event_type.as_str() {
            "job:started" => raw.read().map(|event| event.map(Self::Started)),
            "job:retrying" => raw.read().map(|event| event.map(Self::Retrying)),
            "job:finished" => raw.read().map(|event| event.map(|data| Self::Ended(Status::Finished, data))),
            "job:failed" => raw.read().map(|event| event.map(|data| Self::Ended(Status::Failed, data))),
            "job:cancelled" => raw.read().map(|event| event.map(|data| Self::Ended(Status::Cancelled, data))),
            other => Err(DecodeError::UnknownType(other.to_owned())),
        }
    }

    /// The same, with no log but the latest attempt's, and without the outputs of so many of the earliest attempts that it is
    /// within [`MAX_EVENT_BYTES`].
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        /// More than the envelope has.
        const ENVELOPE: usize = 1024;
        let attempts = match &mut self {
            Self::Started(_) => return self,
            Self::Retrying(JobRetrying { attempts, .. }) | Self::Ended(_, JobEnded { attempts, .. }) => {
                attempts
            }
        };
        let earlier = attempts.len().saturating_sub(1);
        attempts.iter_mut().take(earlier).for_each(|attempt| attempt.log.clear());
        if attempts.iter().all(|attempt| attempt.output.is_none() && attempt.log.is_empty()) {
            return self;
        }
        let mut told = std::mem::take(attempts);
        let without =
            |attempt: &AttemptSummary| AttemptSummary { output: None, log: Vec::new(), ..attempt.clone() };
        *attempts = told.iter().map(without).collect();
        let size = self.encode(Timestamp::from_millis(0), None).map_or(MAX_EVENT_BYTES, |bytes| bytes.len());
        fit(&mut told, MAX_EVENT_BYTES.saturating_sub(size + ENVELOPE));
        if let Self::Retrying(JobRetrying { attempts, .. }) | Self::Ended(_, JobEnded { attempts, .. }) =
            &mut self
        {
            *attempts = told;
        }
        self
    }

    const fn attempt(&self) -> u32 {
        match self {
            Self::Started(data) => data.attempt,
            Self::Retrying(data) => data.attempt,
            Self::Ended(_, data) => data.attempt,
        }
    }
}
