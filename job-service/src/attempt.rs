//! One attempt of a run: its handler under a timeout, a stop signal and a catch for panics; then its
//! outcome into the ledger, and from there to the broker.

use std::{sync::Arc, time::Duration};

use async_task::Task;
use bson::DateTime;
use service_kit::{ByteBudget, faults::gap, telemetry::chain};
use shared_events::{CancelReason, JobError, JsonText, Status};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    backoff,
    carrier::Carrier,
    chronicle::{Chronicle, Deed},
    handler_pool::{HandlerPool, Panic},
    held::{Claiming, Held, Stop},
    isolation,
    kinds::{Attempt, Registry, Verdict},
    ledger::{Ending, Ledger, Recorded, Run},
    relay::Relay,
    settings::WorkerSettings,
};

/// An attempt that ends within this time is told by its end alone.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a stopped handler may take to let go.
const LET_GO: Duration = Duration::from_secs(1);

/// Runs attempts. Copies share everything.
#[derive(Clone)]
pub struct Runner {
    /// The kinds it can do.
    pub registry: Registry,
    /// Where handlers run.
    pub handlers: HandlerPool,
    /// Where outcomes go.
    pub ledger: Ledger,
    /// What it is running.
    pub held: Held,
    /// The bytes of results that are being recorded and announced.
    pub outcomes: ByteBudget,
    /// Who announces.
    pub relay: Relay,
    /// The settings.
    pub settings: Arc<WorkerSettings>,
    /// What is kept of all this for those who check.
    pub chronicle: Chronicle,
    /// Cancelled when nothing can be recorded any more: the process is about to exit.
    pub abandon: CancellationToken,
}

/// The most bytes of [`Runner::outcomes`].
pub const OUTCOMES_BYTES: usize = 16 << 20;

/// Why an attempt is over.
enum Over {
    Said(Result<Verdict, Panic>),
    OutOfTime,
    Stopped(Stop),
}

impl Runner {
    /// Runs a claimed run to the end of this attempt; `carrier` is its announcement, where that carries it. The slot
    /// is free again as soon as the handler is over; recording and announcing its outcome occupies none. A handler that
    /// was stopped and still blocks its thread keeps its slot until it lets go.
    pub async fn run(
        &self,
        mut run: Run,
        slot: OwnedSemaphorePermit,
        claiming: Claiming,
        carrier: Option<Carrier>,
    ) {
        let (hold, stopped) = self.held.enter(run.id, run.attempt, carrier);
        drop(claiming);
        let started = Instant::now();
        let (over, slot) = self.attempt(&mut run, stopped, slot).await;
        let now = self.ledger.mongo().clock().now();
        let ending = match over {
            Over::Stopped(Stop::Superseded) => {
                self.chronicle.note(Deed::LeaseLost, run.id, run.attempt);
                warn!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt }, "lease lost to another worker; stopped");
                return;
            }
            over => self.ending(&run, over, now),
        };
        gap("job.attempt.over");
        // Where outcomes can't be recorded as fast as they come, the slots wait with them.
        let room = self.outcomes.take(ending.weight()).await;
        drop(slot);
        let carrier = hold.take_carrier();
        let recorded = self.record(&run, ending, now, carrier.is_some()).await;
        gap("job.attempt.recorded");
        drop(hold);
        if let Some(ended) = recorded {
            log(&ended, started.elapsed());
            self.relay.announce_soon(ended, carrier).await;
        }
        drop(room);
    }

    /// How the attempt was over, and the slot, unless a blocked handler keeps it.
    async fn attempt(
        &self,
        run: &mut Run,
        mut stopped: oneshot::Receiver<Stop>,
        slot: OwnedSemaphorePermit,
    ) -> (Over, Option<OwnedSemaphorePermit>) {
        let stop = CancellationToken::new();
        let mut handler = match JsonText::from_stored(std::mem::take(&mut run.payload)) {
            Ok(payload) => self.start(run, payload, stop.clone()),
            Err(error) => {
                let verdict = Verdict::Fail(JobError::new("bad_payload", error.to_string()));
                return (Over::Said(Ok(verdict)), Some(slot));
            }
        };
        let limit = tokio::time::sleep(Duration::from_secs(run.timeout_s.into()));
        let moment = tokio::time::sleep(MOMENT);
        tokio::pin!(limit, moment);
        let mut told = false;
        let over = loop {
            tokio::select! {
                biased;
                said = &mut handler => return (Over::Said(said), Some(slot)),
                why = &mut stopped => break Over::Stopped(why.unwrap_or(Stop::Shutdown)),
                () = &mut limit => break Over::OutOfTime,
                () = &mut moment, if !told => {
                    told = true;
                    self.relay.tell_started(run);
                }
            }
        };
        stop.cancel();
        let mut gone = Box::pin(handler.cancel());
        if tokio::time::timeout(LET_GO, &mut gone).await.is_ok() {
            return (over, Some(slot));
        }
        // It can not be dropped before it lets go of its thread; its outcome is nobody's concern.
        warn!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt, job.kind = %run.kind }, "handler was stopped and still blocks its thread; it keeps its slot");
        tokio::spawn(async move {
            gone.await;
            drop(slot);
        });
        (over, None)
    }

    fn start(&self, run: &Run, payload: JsonText, stop: CancellationToken) -> Task<Result<Verdict, Panic>> {
        debug!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt, job.kind = %run.kind, trace_id = trace_id(run) }, "attempt starts");
        self.chronicle.note(Deed::Started, run.id, run.attempt);
        let attempt = Attempt { run: run.id, number: run.attempt, payload, stop };
        let (registry, kind) = (self.registry.clone(), run.kind.clone());
        if run.lost >= isolation::SUSPICIOUS {
            return self.handlers.spawn(async move { isolation::attempt(&kind, attempt).await });
        }
        self.handlers.spawn(async move { registry.attempt(&kind, attempt).await })
    }

    fn ending(&self, run: &Run, over: Over, now: DateTime) -> Ending {
        let error = match over {
            Over::Said(Ok(Verdict::Done(result))) => match result.map(JsonText::within_limits).transpose() {
                Ok(result) => return Ending::Finished(result),
                Err(error) => {
                    return Ending::Failed(JobError::new("bad_result", format!("the result {error}")));
                }
            },
            Over::Said(Ok(Verdict::Fail(error))) => return Ending::Failed(error),
            Over::Stopped(Stop::Requested) => return Ending::Cancelled(CancelReason::Requested),
            Over::OutOfTime => return Ending::Cancelled(CancelReason::Timeout),
            Over::Stopped(Stop::Shutdown | Stop::Superseded) => return Ending::Released,
            Over::Said(Ok(Verdict::Retry(error))) => error,
            Over::Said(Err(panic)) => JobError::new("panic", panic_message(panic)),
        };
        if run.charged >= run.max_attempts {
            return Ending::Failed(error);
        }
        let pause = backoff::pause(self.settings.retry_base, run.charged - 1, WorkerSettings::RETRY_MAX);
        Ending::Retry(
            error,
            DateTime::from_millis(now.timestamp_millis() + service_kit::clock::millis(pause)),
        )
    }

    /// Records the outcome, however long the database is away: only a refusal ends that.
    async fn record(&self, run: &Run, ending: Ending, now: DateTime, is_carried: bool) -> Option<Run> {
        let announce_by = self.ledger.mongo().clock().after(self.settings.relay_after);
        let after = |ending| {
            let ended = run.ended(ending, now, announce_by);
            if is_carried { ended.carried() } else { ended }
        };
        let mut ended = Arc::new(after(ending));
        let mut pause = Duration::from_millis(100);
        loop {
            match self.ledger.record(Arc::clone(&ended)).await {
                Ok(Recorded::Stored) => {
                    self.chronicle.note_state(Deed::Recorded, &ended);
                    return Some(Arc::unwrap_or_clone(ended));
                }
                Ok(Recorded::CancelRequested) => {
                    ended = Arc::new(after(Ending::Cancelled(CancelReason::Requested)));
                    continue;
                }
                Ok(Recorded::Superseded) => {
                    self.chronicle.note_state(Deed::Refused, &ended);
                    warn!(target: "job", { job.id = %run.id.job, run = run.id.run, run.attempt = run.attempt }, "outcome refused: another attempt owns the run");
                    return None;
                }
                Err(error) => {
                    warn!(target: "job", { job.id = %run.id.job, run = run.id.run, error = chain(&error) }, "outcome not recorded yet; trying again");
                }
            }
            tokio::select! {
                () = self.abandon.cancelled() => return None,
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

fn panic_message(panic: Panic) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("no message", |text| text).to_owned(),
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
