//! The worker: from an announcement to a handler, and to an outcome in the ledger.
//!
//! [`Worker`] owns the slots, the [`Claimer`] and the [`Executor`]. What takes runs is a plain loop over it: announcements
//! ([`fetch`]), retries and ended leases ([`due`]), and claims whose answer was lost ([`recover`]). A slot comes first,
//! so nothing is taken that can not run at once.

mod active_runs;
mod attempt_end;
mod bundle;
mod claim;
mod claimed;
mod claimer;
mod clock;
pub mod due;
mod execute;
pub mod fetch;
mod gate;
mod handler_pool;
mod indeterminate;
mod isolate;
mod kind_slots;
mod late_ack;
mod lease;
mod once;
mod origin;
mod pull;
pub mod recover;
mod round;
mod spans;
mod taking;
mod ticks;
mod wind_down;

use std::sync::Arc;

use service_kit::{Broker, Mongo, nats::messages::MessageReader};
use shared_events::Queue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

pub use active_runs::{ActiveRuns, StopReason};
pub(crate) use attempt_end::RetryPolicy;
pub(crate) use claim::UNREADABLE_RUN;
pub use claimer::Claimer;
pub(crate) use clock::follow_clock;
pub use execute::{Executor, OUTCOMES_BYTES};
pub use gate::Gate;
pub use handler_pool::HandlerPool;
pub use isolate::serve_one;
pub use kind_slots::{BadKindLimits, KindLimits, KindSlots, KindUse, Room};
pub(crate) use late_ack::MOST_SLOTS;
pub(crate) use lease::renew_leases;
pub use origin::Origins;
pub(crate) use round::{Round, Taken};
pub use ticks::{BadTicks, Ticks};
pub(crate) use wind_down::Stopping;

/// See the module. Copies share everything.
#[derive(Clone)]
pub struct Worker {
    /// Where announcements come from.
    pub broker: Broker,
    /// Which queues it serves.
    pub queues: Arc<[Queue]>,
    /// One permit for each attempt that may run.
    pub slots: Arc<Semaphore>,
    /// How many slots there are.
    pub concurrency: usize,
    /// What of them kinds may take that have limits of their own.
    pub kind_slots: KindSlots,
    /// How many runs may wait for those.
    pub room: Room,
    /// Whether it takes runs.
    pub gate: Gate,
    /// Who claims.
    pub claimer: Claimer,
    /// Who runs what is claimed.
    pub executor: Executor,
    /// What is being attended to.
    pub tasks: TaskTracker,
    /// Where announcements came from.
    pub origins: Origins,
    /// How messages are read.
    pub messages: Arc<MessageReader>,
}

impl Worker {
    fn mongo(&self) -> &Mongo {
        self.executor.ledger.mongo()
    }

    /// Whether anything that it has taken is not settled yet.
    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.is_empty() || self.executor.active.slots_used() > 0 || self.claimer.has_indeterminate()
    }

    /// At least one slot, and what else is free, up to `most`.
    async fn free_slots(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        let Ok(first) = Arc::clone(&self.slots).acquire_owned().await else {
            return std::future::pending().await;
        };
        let mut slots = vec![first];
        self.take_free_slots(&mut slots, most);
        slots
    }

    /// Adds what slots are free, until there are `most`.
    fn take_free_slots(&self, slots: &mut Vec<OwnedSemaphorePermit>, most: usize) {
        while slots.len() < most {
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            slots.push(slot);
        }
    }
}
