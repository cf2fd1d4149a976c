//! How many runs of limited kinds may wait in the ledger, by queue. Where a queue has used that up, nothing more of it is
//! taken from the stream until there is room again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use service_kit::{StoreError, telemetry::chain};
use shared_events::{Kind, Queue};
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, warn};

use crate::ledger::Ledger;

/// The most runs of a queue that wait.
const MOST: u64 = 1000;

/// How few there have to be before more is taken after that.
const ROOM_AGAIN: u64 = 900;

/// How long a count holds while runs begin to wait. What other workers add meanwhile is not known.
const HOLDS: Duration = Duration::from_millis(100);

/// How often a queue is looked at that has no room.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// See the module. Copies share it.
#[derive(Clone)]
pub struct Room {
    ledger: Ledger,
    kinds: Arc<[Kind]>,
    queues: Arc<Mutex<HashMap<Queue, Waiting>>>,
}

/// What is known of a queue.
#[derive(Debug, Default)]
struct Waiting {
    counted_at: Option<Instant>,
    /// As counted, and those that were let in since or were under way then.
    count: u64,
    under_way: Arc<AtomicU64>,
    is_full: bool,
}

/// A run that may wait; until this is dropped it may not be in the ledger yet.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<AtomicU64>);

impl Room {
    /// For runs of these kinds.
    #[must_use]
    pub fn new(ledger: Ledger, kinds: Vec<Kind>) -> Self {
        Self { ledger, kinds: kinds.into(), queues: Arc::default() }
    }

    /// Whether one more run of the queue may wait; none where there is no room.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(crate) async fn admit(&self, queue: &Queue) -> Result<Option<Admitted>, StoreError> {
        let mut queues = self.queues.lock().await;
        let waiting = queues.entry(queue.clone()).or_default();
        if waiting.is_full {
            return Ok(None);
        }
        if waiting.counted_at.is_none_or(|at| at.elapsed() > HOLDS) {
            self.count(queue, waiting).await?;
        }
        if waiting.count >= MOST {
            debug!(%queue, "as many runs wait for slots of their kinds as may; nothing more of the queue is taken");
            waiting.is_full = true;
            return Ok(None);
        }
        waiting.count += 1;
        waiting.under_way.fetch_add(1, Ordering::AcqRel);
        Ok(Some(Admitted(Arc::clone(&waiting.under_way))))
    }

    /// Whether more of the queue may be taken from the stream; asks the database where it was full.
    pub(crate) async fn has(&self, queue: &Queue) -> bool {
        if self.kinds.is_empty() {
            return true;
        }
        let mut queues = self.queues.lock().await;
        let Some(waiting) = queues.get_mut(queue).filter(|waiting| waiting.is_full) else { return true };
        if waiting.counted_at.is_none_or(|at| at.elapsed() >= LOOK) {
            if let Err(error) = self.count(queue, waiting).await {
                warn!(%queue, error = chain(&error), "could not count what waits for slots of kinds");
                return false;
            }
            waiting.is_full = waiting.count > ROOM_AGAIN;
        }
        !waiting.is_full
    }

    async fn count(&self, queue: &Queue, waiting: &mut Waiting) -> Result<(), StoreError> {
        let under_way = waiting.under_way.load(Ordering::Acquire);
        // Also where it fails: it is not asked again at once.
        waiting.counted_at = Some(Instant::now());
        waiting.count = MOST;
        waiting.count = self.ledger.waiting(queue, &self.kinds, MOST).await? + under_way;
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
