//! Announcements that still carry their runs.
//!
//! A run that was just claimed is not among what is due in the ledger. Its announcement stays unacked instead, so that
//! the broker delivers it again should the worker die, and the ledger then says what is to be done. Most runs end
//! before long, and cost the ledger neither a place among what is due nor an outbox mark: the announcement is acked
//! when the broker has stored the end. The first renewal of the lease puts a run into the ledger's care, and so does a retry.

use std::{fmt, time::Duration};

use async_nats::jetstream::{AckKind, Message, message::Acker};
use tracing::debug;

use crate::origin::Origin;

/// How much longer than a lease the broker waits before it delivers an announcement again: the ledger then finds
/// the lease ended, which began somewhat later than the broker's wait.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The most slots of a worker whose runs are carried. What the broker waits for is limited for all workers together,
/// so those with more claim into the ledger's care at once.
pub(crate) const MOST_SLOTS: usize = 1000;

/// An unacked announcement. It can be acked only where it came from: in another store of the broker the same ack would be
/// taken for that of another announcement. What is not acked comes again.
pub struct Carrier {
    acker: Acker,
    origin: Origin,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}

impl Carrier {
    /// Keeps what is needed to ack an announcement that came from `origin`.
    #[must_use]
    pub fn new(announcement: Message, origin: Origin) -> Self {
        Self { acker: announcement.split().1, origin }
    }

    /// The broker may forget the announcement. Where the ack is lost, it comes again and finds the run known.
    pub async fn ack(self) {
        self.answer(AckKind::Ack).await;
    }

    /// The broker is to deliver the announcement again, after `delay` where there is one.
    pub async fn give_back(self, delay: Option<Duration>) {
        self.answer(AckKind::Nak(delay)).await;
    }

    async fn answer(self, kind: AckKind) {
        if !self.origin.is_there() {
            debug!("the store that it came from is gone; the announcement comes again when its time is over");
            return;
        }
        if let Err(error) = self.acker.ack_with(kind).await {
            debug!(%error, "the announcement comes again when its time is over");
        }
    }
}
