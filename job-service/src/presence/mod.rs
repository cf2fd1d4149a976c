//! What a worker says of itself, and what it may be told: heart-beats on core NATS, from which the api-service knows who
//! works, and requests to drain and to resume.

mod attempts_per_minute;
mod control;
mod heartbeat;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use shared_events::{
    Timestamp,
    broadcasts::{Heartbeat, KindSlots, WorkerState},
    ids, subjects,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::attempts_per_minute::AttemptsPerMinute;
use crate::worker::{KindUse, Worker};

/// See the module. Copies share it.
#[derive(Clone)]
pub struct Presence {
    worker: Worker,
    since: Timestamp,
    /// Cancelled when the worker is told to end.
    stop: CancellationToken,
    attempts: Arc<Mutex<AttemptsPerMinute>>,
    beat_now: Arc<Notify>,
}

impl Presence {
    /// Of this worker, which ends when `stop` is cancelled.
    #[must_use]
    pub fn new(worker: Worker, stop: CancellationToken) -> Self {
        let (attempts, beat_now) = (Arc::default(), Arc::default());
        Self { worker, since: Timestamp::now(), stop, attempts, beat_now }
    }

    fn state(&self) -> WorkerState {
        let gate = &self.worker.gate;
        state(self.stop.is_cancelled(), gate.is_open(), gate.is_taking() || self.worker.is_busy())
    }

    /// What it says now.
    fn heartbeat(&self, state: WorkerState) -> Heartbeat {
        let Worker { queues, concurrency, kind_slots, executor, .. } = &self.worker;
        let started = executor.active.started();
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        Heartbeat {
            id: executor.ledger.worker().clone(),
            host: ids::host_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            queues: queues.to_vec(),
            kinds: executor.registry.kinds(),
            slots: number(*concurrency),
            slots_used: number(executor.active.slots_used().min(*concurrency)),
            kind_slots: kind_slots.used().into_iter().map(of_kind).collect(),
            attempts_per_minute: attempts.at(Instant::now(), started),
            state,
        }
    }

    async fn publish(&self, state: WorkerState) {
        match serde_json::to_vec(&self.heartbeat(state)) {
            Ok(body) => self.worker.broker.broadcast(subjects::WORKER_HEARTBEAT, Bytes::from(body)).await,
            Err(error) => warn!(%error, "a heart-beat has no JSON"),
        }
    }
}

fn of_kind(KindUse { kind, limit, used }: KindUse) -> KindSlots {
    KindSlots { kind, slots: number(limit), slots_used: number(used) }
}

const fn state(is_stopping: bool, is_open: bool, has_work: bool) -> WorkerState {
    match (is_stopping, is_open, has_work) {
        (true, _, _) => WorkerState::Stopping,
        (false, true, _) => WorkerState::Running,
        (false, false, true) => WorkerState::Draining,
        (false, false, false) => WorkerState::Drained,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_drained_when_it_has_nothing_left() {
        assert_eq!(state(false, true, true), WorkerState::Running);
        assert_eq!(state(false, true, false), WorkerState::Running);
        assert_eq!(state(false, false, true), WorkerState::Draining);
        assert_eq!(state(false, false, false), WorkerState::Drained);
        for (is_open, has_work) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(state(true, is_open, has_work), WorkerState::Stopping);
        }
    }
}
