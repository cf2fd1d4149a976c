//! What a handler knows of the attempt that it makes, and can say about it while it goes on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared_events::{RunId, TraceContext};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How far an attempt is, by its handler's own account.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 100.
    pub percent: f64,
    /// In words.
    pub message: String,
}

/// See the module. Copies are of the same attempt.
#[derive(Debug, Clone)]
pub struct Context {
    run: RunId,
    attempt: u32,
    deadline: Instant,
    stop: CancellationToken,
    trace: Option<TraceContext>,
    progress: Arc<Mutex<Option<Progress>>>,
}

impl Context {
    /// The context of an attempt that starts now and may take so long.
    #[must_use]
    pub fn new(run: RunId, attempt: u32, timeout: Duration, stop: CancellationToken) -> Self {
        Self { run, attempt, deadline: Instant::now() + timeout, stop, trace: None, progress: Arc::default() }
    }

    /// The same, of a job with this trace.
    #[must_use]
    pub fn with_trace(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// The trace of the request that created the job.
    #[must_use]
    pub const fn trace(&self) -> Option<TraceContext> {
        self.trace
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

    /// Says how far it is, from 0 to 100 percent.
    pub fn progress(&self, percent: f64, message: impl Into<String>) {
        let progress = Progress { percent: percent.clamp(0.0, 100.0), message: message.into() };
        debug!(target: "job", { job.id = %self.run.job, run = self.run.run, run.attempt = self.attempt, percent = progress.percent }, "{}", progress.message);
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// How far it is, where it has said so.
    #[must_use]
    pub fn latest_progress(&self) -> Option<Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a line to the worker's log, with the job's id.
    pub fn log(&self, line: &str) {
        info!(target: "job", { job.id = %self.run.job, run = self.run.run, run.attempt = self.attempt }, "{line}");
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
        assert_eq!(
            context.latest_progress(),
            Some(Progress { percent: 100.0, message: "nearly".to_owned() })
        );
    }
}
