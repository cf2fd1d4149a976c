//! What the job-service counts besides what every service does.

use std::time::Duration;

use service_kit::metrics::{
    Counters, Family, GROUP_MEMBERS, Gauges, Histograms, LONG, Names, at_scrape, is_on,
};
use shared_events::{AttemptOutcome, Status, Timestamp};

use crate::{
    ledger::Run,
    worker::{KindUse, Worker},
};

static QUEUES: Names = Names::up_to(100);
static KINDS: Names = Names::up_to(100);

static ATTEMPTS_STARTED: Counters<2> = Counters::counters(
    "hasty_attempts_started_total",
    ["kind", "queue"],
    "attempts that this worker has begun, by a claim",
);

static ATTEMPTS_ENDED: Counters<3> = Counters::counters(
    "hasty_attempts_ended_total",
    ["kind", "queue", "outcome"],
    "attempts whose end this worker has recorded. `outcome`: `finished`, `failed` (for good), `retry` (failed, and is tried again), `cancelled`, `released` (given back uncharged)",
);

static ATTEMPT_SECONDS: Histograms<2> = Histograms::histograms(
    "hasty_attempt_seconds",
    ["kind", "outcome"],
    LONG,
    "how long attempts took, until their end was recorded",
);

static JOBS_ENDED: Counters<3> = Counters::counters(
    "hasty_jobs_ended_total",
    ["kind", "queue", "outcome"],
    "runs that this worker has ended, each once. `outcome`: `finished`, `failed`, `cancelled`",
);

static WAIT_SECONDS: Histograms<1> = Histograms::histograms(
    "hasty_job_wait_seconds",
    ["queue"],
    LONG,
    "from a run's announcement (after its creation, or its due time) to its first claim, by the two services' clocks; without those that had to wait for a slot of their kind",
);

static LEASES_LOST: Counters<1> = Counters::counters(
    "hasty_leases_lost_total",
    ["reason"],
    "leases that ended while their attempt ran. `reason`: `taken_over` (this worker has taken over a run whose worker did not renew), `superseded` (this worker was the one that did not)",
);

static SLOTS: Gauges<0> =
    Gauges::gauges("hasty_slots", [], "how many attempts this worker makes at once (`WORKER_CONCURRENCY`)");

static SLOTS_USED: Gauges<0> =
    Gauges::gauges("hasty_slots_used", [], "how many it makes now, blocked ones included");

static KIND_SLOTS: Gauges<1> = Gauges::gauges(
    "hasty_kind_slots",
    ["kind"],
    "of a kind with slots of its own, how many attempts this worker makes at once (`KIND_SLOTS`)",
);

static KIND_SLOTS_USED: Gauges<1> =
    Gauges::gauges("hasty_kind_slots_used", ["kind"], "how many of these are taken");

static OUTBOX_WAITING: Gauges<0> = Gauges::gauges(
    "hasty_outbox_waiting",
    [],
    "announcements that wait for NATS, as this replica knows it: of all replicas at the api-service, of all workers at the job-service (up to 10,000)",
);

static OUTBOX_OVERDUE_SECONDS: Gauges<0> = Gauges::gauges(
    "hasty_outbox_overdue_seconds",
    [],
    "for how long the first of them has been due to be announced by the scan; 0 where none is",
);

/// What the job-service counts.
pub static FAMILIES: &[&dyn Family] = &[
    &ATTEMPTS_STARTED,
    &ATTEMPTS_ENDED,
    &ATTEMPT_SECONDS,
    &JOBS_ENDED,
    &WAIT_SECONDS,
    &LEASES_LOST,
    &SLOTS,
    &SLOTS_USED,
    &KIND_SLOTS,
    &KIND_SLOTS_USED,
    &OUTBOX_WAITING,
    &OUTBOX_OVERDUE_SECONDS,
];

fn kind(run: &Run) -> &'static str {
    KINDS.value(run.kind.as_str())
}

fn queue(run: &Run) -> &'static str {
    QUEUES.value(run.queue.as_str())
}

/// A run was claimed for the first time that was announced at this time.
pub(crate) fn waited(run: &Run, announced: Timestamp, now_ms: i64) {
    if is_on() && run.attempt == 1 && run.status == Status::Running {
        let waited_ms = (now_ms - announced.millis()).max(0);
        WAIT_SECONDS.record([queue(run)], waited_ms as f64 / 1000.0);
    }
}

/// An attempt begins.
pub(crate) fn started(run: &Run) {
    if !is_on() {
        return;
    }
    ATTEMPTS_STARTED.add([kind(run), queue(run)], 1);
    if run.attempts.last().is_some_and(|before| before.outcome == AttemptOutcome::Lost) {
        LEASES_LOST.add(["taken_over"], 1);
    }
}

/// An attempt ended, and that is recorded.
pub(crate) fn ended(run: &Run, took: Duration) {
    if !is_on() {
        return;
    }
    let last = run.attempts.last().map(|attempt| attempt.outcome);
    let outcome = match (run.status, last) {
        (Status::Queued, Some(AttemptOutcome::Released)) => "released",
        (Status::Queued, _) => "retry",
        (status, _) => status.as_str(),
    };
    ATTEMPTS_ENDED.add([kind(run), queue(run), outcome], 1);
    ATTEMPT_SECONDS.record([kind(run), outcome], took.as_secs_f64());
    if run.status.is_terminal() {
        run_ended(run);
    }
}

/// A run ended, by an attempt or without one.
pub(crate) fn run_ended(run: &Run) {
    if is_on() {
        JOBS_ENDED.add([kind(run), queue(run), run.status.as_str()], 1);
    }
}

/// An attempt was stopped since another worker has its run.
pub(crate) fn superseded() {
    LEASES_LOST.add(["superseded"], 1);
}

/// So many cancels were decided together.
pub(crate) fn cancels(members: usize) {
    GROUP_MEMBERS.record(["cancels"], members as f64);
}

/// Has slots and the outbox looked at before each scrape.
pub(crate) fn watch(worker: &Worker) {
    // What has its alert is there from the start: an increase from nothing is none.
    for reason in ["taken_over", "superseded"] {
        LEASES_LOST.add([reason], 0);
    }
    let worker = worker.clone();
    at_scrape(move || {
        let Worker { executor, concurrency, kind_slots, .. } = &worker;
        SLOTS.set([], *concurrency as f64);
        SLOTS_USED.set([], executor.active.slots_used().min(*concurrency) as f64);
        for KindUse { kind, limit, used } in kind_slots.used() {
            let kind = KINDS.value(kind.as_str());
            KIND_SLOTS.set([kind], limit as f64);
            KIND_SLOTS_USED.set([kind], used as f64);
        }
        let ledger = executor.ledger.clone();
        async move {
            if let Ok((waiting, overdue)) = ledger.unannounced().await {
                OUTBOX_WAITING.set([], waiting as f64);
                OUTBOX_OVERDUE_SECONDS.set([], overdue.as_secs_f64());
            }
        }
    });
}
