//! Holding handlers until a test lets them go on, so that nothing rests on how long they take.

use serde_json::json;
use tempfile::TempDir;

use crate::NewJob;

/// A gate at which the handlers of some jobs wait until it is opened. It needs `WORKER_FAULTS`.
#[derive(Debug)]
pub struct Gate(TempDir);

impl Gate {
    /// A closed one.
    ///
    /// # Panics
    /// Where there is no room for a temporary folder.
    #[allow(clippy::new_without_default, reason = "each is another one")]
    #[must_use]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A job whose attempts wait at this gate, and are done when it is open.
    #[must_use]
    pub fn job(&self) -> NewJob {
        let payload = json!({ "attempts": ["done"], "gate": self.0.path().join("open") });
        NewJob::of_kind("fault").payload(payload).timeout_s(3600)
    }

    /// Lets all go on.
    ///
    /// # Panics
    /// Where the temporary folder can not be written.
    pub fn open(&self) {
        std::fs::write(self.0.path().join("open"), "").expect("a file in a temporary folder");
    }
}
