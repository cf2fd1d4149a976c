//! Whether a worker takes new runs. A worker that is drained keeps its gate closed until it is told to resume, whatever
//! happens to its connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_open: watch::Sender<bool>,
    taking: AtomicUsize,
}

/// The worker is taking runs as long as this lives; it may outlive the closing of the gate by a moment.
#[derive(Debug)]
pub struct Taking(Gate);

impl Default for Gate {
    /// Open.
    fn default() -> Self {
        Self(Arc::new(Inner { is_open: watch::Sender::new(true), taking: AtomicUsize::new(0) }))
    }
}

impl Gate {
    /// Nothing new is taken from now on; whether anything was before.
    pub fn close(&self) -> bool {
        self.0.is_open.send_if_modified(|is_open| std::mem::replace(is_open, false))
    }

    /// Runs are taken again; whether none were before.
    pub fn open(&self) -> bool {
        self.0.is_open.send_if_modified(|is_open| !std::mem::replace(is_open, true))
    }

    /// Whether runs may be taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.0.is_open.borrow()
    }

    /// Waits until runs may be taken.
    pub async fn opened(&self) {
        self.becomes(true).await;
    }

    /// Waits until none may be taken.
    pub async fn closed(&self) {
        self.becomes(false).await;
    }

    /// Runs are taken as long as what is returned lives.
    #[must_use]
    pub fn enter(&self) -> Taking {
        self.0.taking.fetch_add(1, Ordering::AcqRel);
        Taking(self.clone())
    }

    /// Whether runs are being taken.
    #[must_use]
    pub fn is_taking(&self) -> bool {
        self.0.taking.load(Ordering::Acquire) > 0
    }

    async fn becomes(&self, wanted: bool) {
        // The sender is this gate's own: it is there as long as anybody waits.
        let _ = self.0.is_open.subscribe().wait_for(|is_open| *is_open == wanted).await;
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.0.taking.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closing_and_opening_are_told_once() {
        let gate = Gate::default();
        assert!(gate.is_open() && !gate.open());
        assert!(gate.close() && !gate.close() && !gate.is_open());
        gate.closed().await;
        assert!(gate.open());
        gate.opened().await;
    }

    #[test]
    fn what_is_being_taken_when_the_gate_closes_still_counts() {
        let gate = Gate::default();
        let taking = gate.enter();
        gate.close();
        assert!(gate.is_taking());
        drop(taking);
        assert!(!gate.is_taking());
    }
}
