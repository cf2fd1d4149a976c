//! What a handler knows of the attempt that it makes, and can say about it while it goes on.

use std::{sync::Arc, time::Duration};

use shared_events::{JobProgress, RunId, Timestamp, TraceContext, WorkerId, live::LogSource};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::live::{LiveAttempts, Said};

/// See the module. Copies are of the same attempt.
#[derive(Debug, Clone)]
pub struct Context {
    run: RunId,
    attempt: u32,
    deadline: Instant,
    stop: CancellationToken,
    trace: Option<TraceContext>,
    has_span: bool,
    worker: Option<WorkerId>,
    said: Arc<Said>,
}

impl Context {
    /// The context of an attempt that starts now and may take so long.
    #[must_use]
    pub fn new(run: RunId, attempt: u32, timeout: Duration, stop: CancellationToken) -> Self {
        let said = LiveAttempts::default().attempt(run, attempt);
        let deadline = Instant::now() + timeout;
        Self { run, attempt, deadline, stop, trace: None, has_span: false, worker: None, said }
    }

    /// The same, of a job with this trace; `has_span` says whether that is a span of the attempt itself, which is recorded.
    #[must_use]
    pub fn with_trace(self, trace: Option<TraceContext>, has_span: bool) -> Self {
        Self { trace, has_span, ..self }
    }

    /// The same, of an attempt that this worker makes.
    #[must_use]
    pub fn by(self, worker: Option<WorkerId>) -> Self {
        Self { worker, ..self }
    }

    /// The same, where what it says is kept.
    #[must_use]
    pub(crate) fn saying(self, said: Arc<Said>) -> Self {
        Self { said, ..self }
    }

    /// The trace of the request that created the job.
    #[must_use]
    pub const fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Whether [`Self::trace`] is a span of the attempt itself, which is recorded.
    #[must_use]
    pub const fn has_span(&self) -> bool {
        self.has_span
    }

    /// What goes along with what is asked of others, as `traceparent`: the attempt's span, where that is recorded.
    #[must_use]
    pub fn handed_on(&self) -> Option<TraceContext> {
        self.trace.map(|trace| if self.has_span { trace } else { trace.child() })
    }

    /// The worker that makes it, where that is known.
    #[must_use]
    pub const fn worker(&self) -> Option<&WorkerId> {
        self.worker.as_ref()
    }

    /// The run: the same in all its attempts.
    #[must_use]
    pub const fn run_id(&self) -> RunId {
        self.run
    }

    /// Which attempt of it, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the attempt is over its time.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits until the attempt is to stop: cancelled, over its time, taken over, or its worker shuts down. From then on
    /// the handler has its kind's grace.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Whether it is to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Sleeps; false where it was told to stop meanwhile.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }

    /// Says how far it is, from 0 to 100 percent, and what it is at; the job shows it while the attempt goes on.
    pub fn progress(&self, percent: f64, message: impl Into<String>) {
        self.said.progress(JobProgress::new(percent, message, Timestamp::now()));
    }

    /// How far it is, where it has said so.
    #[must_use]
    pub fn latest_progress(&self) -> Option<JobProgress> {
        self.said.latest_progress()
    }

    /// Keeps a line for the job's log, which is shown while the attempt goes on.
    pub fn log(&self, line: &str) {
        debug!(target: "job", { job.id = %self.run.job, run = self.run.run, run.attempt = self.attempt }, "{line}");
        self.said.log(LogSource::Log, line);
    }

    /// The same of a line that a program wrote.
    pub fn log_from(&self, from: LogSource, line: &str) {
        self.said.log(from, line);
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    fn context() -> Context {
        let stop = CancellationToken::new();
        Context::new(JobId::generate().run(1), 1, Duration::from_secs(60), stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_when_the_attempt_is_to_stop() {
        let context = context();
        assert!(context.sleep(Duration::from_secs(1)).await);
        context.stop.cancel();
        assert!(!context.sleep(Duration::from_secs(3600)).await && context.is_stopped());
    }

    #[test]
    fn progress_stays_within_its_range() {
        let context = context();
        assert_eq!(context.latest_progress(), None);
        context.progress(120.0, "nearly");
        assert_eq!(context.latest_progress().map(|progress| progress.percent), Some(100.0));
    }
}
