//! Who works: every worker's last heart-beat, in memory, and requests to drain and to resume one.
//!
//! Nothing is stored: each replica hears all heart-beats by itself, so a new one knows every worker within two seconds.

mod control;
mod errors;
mod listen;
mod problems;
mod registry;
mod requests;
mod routes;
mod view;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use service_kit::Broker;
use shared_events::Queue;
use tokio::sync::watch;

pub use errors::ControlError;
pub use problems::PROBLEM_TYPES;
pub(crate) use problems::WORKER_SILENT;
pub use registry::{Moment, Registry, Seen, Snapshot};
pub use routes::configure;

/// The workers, as this replica hears them. Copies share it.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    broker: Broker,
    registry: Mutex<Registry>,
    /// Changes with everything that is heard.
    heard: watch::Sender<()>,
}

impl Workers {
    /// Knows nobody yet; heart-beats come from this broker.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        let registry = Mutex::new(Registry::new(Moment::now()));
        Self(Arc::new(Inner { broker, registry, heard: watch::Sender::new(()) }))
    }

    /// All workers, those that have run longest first, and of when that is.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.registry().snapshot(Moment::now())
    }

    /// How many workers take runs of this queue.
    #[must_use]
    pub fn serving(&self, queue: &Queue) -> usize {
        self.registry().serving(queue)
    }

    /// The queues that any worker serves.
    #[must_use]
    pub fn queues(&self) -> BTreeSet<Queue> {
        let workers = self.snapshot().workers;
        workers.into_iter().flat_map(|seen| seen.heartbeat.queues).collect()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
