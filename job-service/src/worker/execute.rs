//! One attempt of a run: its handler under a timeout, a stop signal and a catch for panics; then its
//! outcome into the ledger, and from there to the broker.
//!
//! Stopping has two phases: the handler is told, and has its kind's grace to come to an end; then its future is dropped.

use std::{sync::Arc, time::Duration};

use async_task::Task;
use bson::DateTime;
use service_kit::{
    ByteBudget, Weigh,
    failpoints::failpoint,
    retry::Backoff,
    telemetry::{chain, traces::Live},
};
use shared_events::{CancelReason, JobError, JsonText, Status, live::LogLine};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    active_runs::{ActiveRuns, ClaimGuard, StopReason},
    attempt_end::{Panic, StopCause, attempt_end},
    handler_pool::HandlerPool,
    isolate,
    kind_slots::Slot,
    late_ack::RecoveredBy,
    spans,
};
use crate::{
    history::{History, HistoryEvent},
    kinds::{Context, HandlerResult, Registry},
    ledger::{AttemptEnd, Ledger, Recorded, Run},
    live::{LiveAttempts, Said},
    metrics,
    outbox::Relay,
    settings::WorkerSettings,
};

/// An attempt that ends within this time is told by its end alone.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a handler that is dropped may take to let go of its thread.
const LET_GO: Duration = Duration::from_secs(1);

/// The most bytes of [`Executor::outcomes`].
pub const OUTCOMES_BYTES: usize = 16 << 20;

/// Runs attempts. Copies share everything.
#[derive(Clone)]
pub struct Executor {
    /// The kinds it can do.
    pub registry: Registry,
    /// Where handlers run.
    pub handlers: HandlerPool,
    /// Where outcomes go.
    pub ledger: Ledger,
    /// What it is running.
    pub active: ActiveRuns,
    /// The bytes of results that are being recorded and announced.
    pub outcomes: ByteBudget,
    /// Who announces.
    pub relay: Relay,
    /// The settings.
    pub settings: Arc<WorkerSettings>,
    /// What attempts say while they are made.
    pub live: LiveAttempts,
    /// What is kept of all this for those who check.
    pub history: History,
    /// Cancelled when nothing can be recorded any more: the process is about to exit.
    pub abandon: CancellationToken,
}

impl Executor {
    /// Runs a claimed run to the end of this attempt; `recovered_by` is what brings it on, should this worker die. The
    /// slot is free again as soon as the handler is over; recording and announcing its outcome occupies none. A handler
    /// that was stopped and still blocks its thread keeps its slot until it lets go.
    pub async fn run(&self, mut run: Run, slot: Slot, guard: ClaimGuard, recovered_by: RecoveredBy) {
        let (active, stopped) = self.active.enter(run.id, run.attempt, recovered_by);
        drop(guard);
        let started = Instant::now();
        metrics::started(&run);
        // Until its end is announced, it is asked for its log.
        let said = self.live.attempt(run.id, run.attempt);
        let live = spans::attempt(&run);
        if let Some(live) = &live {
            // What the attempt causes is beneath it; the ledger keeps what announced the run.
            run.trace = Some(live.context());
        }
        let (cause, slot) = self.attempt(&mut run, live.as_ref(), &said, stopped, slot).await;
        let now = self.ledger.mongo().clock().now();
        let jitter = rand::random_range(0.0..=1.0);
        let end = attempt_end(&run, cause, now, self.settings.retry_policy(), jitter);
        if let Some(live) = live {
            spans::end_attempt(live, end.as_ref());
        }
        let Some(end) = end else {
            metrics::superseded();
            self.history.add(HistoryEvent::LeaseLost, run.id, run.attempt);
            warn!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt }, "lease lost to another worker; stopped");
            return;
        };
        failpoint("job.attempt.over");
        // Where outcomes can't be recorded as fast as they come, the slots wait with them.
        let room = self.outcomes.take(end.weight() + run.weight()).await;
        drop(slot);
        let recovered_by = active.take_recovered_by();
        let lines = said.last_lines();
        let recorded = self.record(&run, end, lines, now, recovered_by.is_redelivery()).await;
        failpoint("job.attempt.recorded");
        drop(active);
        if let Some(ended) = recorded {
            metrics::ended(&ended, started.elapsed());
            log(&ended, started.elapsed());
            self.announce(ended, recovered_by).await;
        }
        drop(room);
    }

    /// Announces what the ledger says of a run, in the background; then its announcement can go.
    pub async fn announce(&self, run: Run, recovered_by: RecoveredBy) {
        let (ledger, ended) = (self.ledger.clone(), run.ended_run());
        let then = move |is_stored| async move { recovered_by.has_ended(ended, is_stored, &ledger).await };
        self.relay.announce_soon(run, then).await;
    }

    /// Why the attempt is over, and the slot, unless a blocked handler keeps it.
    async fn attempt(
        &self,
        run: &mut Run,
        live: Option<&Live>,
        said: &Arc<Said>,
        mut stopped: oneshot::Receiver<StopReason>,
        slot: Slot,
    ) -> (StopCause, Option<Slot>) {
        // Its own will take the place of the earlier attempt's.
        run.output = None;
        let Some(grace) = self.registry.grace(&run.kind) else { return (StopCause::UnknownKind, Some(slot)) };
        let stop = CancellationToken::new();
        let mut handler = match JsonText::from_stored(std::mem::take(&mut run.payload)) {
            Ok(payload) => self.start(run, live, payload, said, stop.clone()),
            Err(error) => {
                let error = JobError::new("bad_payload", error.to_string());
                return (StopCause::Returned(Ok(HandlerResult::fail(error))), Some(slot));
            }
        };
        let limit = tokio::time::sleep(Duration::from_secs(run.timeout_s.into()));
        let moment = tokio::time::sleep(MOMENT);
        tokio::pin!(limit, moment);
        let mut is_announced = false;
        let reason = loop {
            tokio::select! {
                biased;
                returned = &mut handler => return (StopCause::Returned(returned), Some(slot)),
                reason = &mut stopped => break Some(reason.unwrap_or(StopReason::Shutdown)),
                () = &mut limit => break None,
                () = &mut moment, if !is_announced => {
                    is_announced = true;
                    // Beside the attempt, whose span is not there before its end, nor if this worker dies.
                    self.relay.announce_start(run, live.map_or(run.trace, |live| Some(live.parent())));
                }
            }
        };
        stop.cancel();
        let cause = |returned| match reason {
            Some(reason) => StopCause::Stopped(reason, returned),
            None => StopCause::OutOfTime(returned),
        };
        if let Ok(returned) = tokio::time::timeout(grace, &mut handler).await {
            return (cause(returned.ok()), Some(slot));
        }
        let mut gone = Box::pin(handler.cancel());
        if tokio::time::timeout(LET_GO, &mut gone).await.is_ok() {
            return (cause(None), Some(slot));
        }
        // It can not be dropped before it lets go of its thread; its outcome is nobody's concern.
        warn!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt, job.kind = %run.kind }, "handler was stopped and still blocks its thread; it keeps its slot");
        let blocked = self.active.count_blocked();
        tokio::spawn(async move {
            gone.await;
            drop((slot, blocked));
        });
        (cause(None), None)
    }

    fn start(
        &self,
        run: &Run,
        live: Option<&Live>,
        payload: JsonText,
        said: &Arc<Said>,
        stop: CancellationToken,
    ) -> Task<Result<HandlerResult, Panic>> {
        debug!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt, job.kind = %run.kind, trace_id = trace_id(run) }, "attempt starts");
        self.history.add(HistoryEvent::Started, run.id, run.attempt);
        let timeout = Duration::from_secs(run.timeout_s.into());
        let context = Context::new(run.id, run.attempt, timeout, stop)
            .with_trace(run.trace, live.is_some())
            .by(run.worker.clone())
            .saying(Arc::clone(said));
        let (registry, kind, is_suspicious) =
            (self.registry.clone(), run.kind.clone(), run.lost >= isolate::SUSPICIOUS);
        let work = async move {
            if is_suspicious {
                isolate::run(&kind, context, payload).await
            } else {
                registry.run(&kind, context, &payload).await
            }
        };
        match live {
            Some(live) => self.handlers.spawn(live.around(work)),
            None => self.handlers.spawn(work),
        }
    }

    /// Records the outcome, however long the database is away: only a refusal ends that.
    async fn record(
        &self,
        run: &Run,
        end: AttemptEnd,
        log: Vec<LogLine>,
        now: DateTime,
        by_redelivery: bool,
    ) -> Option<Run> {
        let announce_by = self.relay.announce_by();
        let after = |end| {
            let ended = run.ended(end, now, announce_by).with_log(log.clone());
            if by_redelivery { ended.recovered_by_redelivery() } else { ended }
        };
        let mut ended = Arc::new(after(end));
        let mut backoff = Backoff::default();
        loop {
            match self.ledger.record(Arc::clone(&ended)).await {
                Ok(Recorded::Stored) => {
                    self.history.add_state(HistoryEvent::Recorded, &ended);
                    return Some(Arc::unwrap_or_clone(ended));
                }
                Ok(Recorded::CancelRequested) => {
                    let output = ended.output.clone().and_then(|text| JsonText::from_stored(text).ok());
                    ended = Arc::new(after(AttemptEnd::Cancelled(CancelReason::Requested, output)));
                    continue;
                }
                Ok(Recorded::Superseded) => {
                    self.history.add_state(HistoryEvent::Refused, &ended);
                    warn!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt }, "outcome refused: another attempt owns the run");
                    return None;
                }
                Err(error) => {
                    warn!(target: "job", { job.id = %run.id.job, run = run.id.run, error = chain(&error) }, "outcome not recorded yet; trying again");
                }
            }
            tokio::select! {
                () = self.abandon.cancelled() => return None,
                () = backoff.pause() => {}
            }
        }
    }
}

fn trace_id(run: &Run) -> Option<String> {
    run.trace.map(shared_events::TraceContext::trace_id)
}

fn log(run: &Run, elapsed: Duration) {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let error = run.attempts.last().and_then(|attempt| attempt.error.as_ref());
    let error_code = error.map(|error| error.code.as_str());
    match run.status {
        Status::Finished => {
            debug!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt, elapsed_ms, trace_id = trace_id(run) }, "run finished");
        }
        status => {
            info!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt, job.kind = %run.kind, run.status = %status, error_code, elapsed_ms, trace_id = trace_id(run) }, "attempt ended");
        }
    }
}
