//! Every end of a process that is started again and again, whoever was looking when it came.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The end of one life of a process.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The process id that it had.
    pub pid: u32,
    /// When it ended.
    pub at: SystemTime,
}

/// All ends so far, the latest last.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<Vec<End>>);

impl Ends {
    pub(super) fn add(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(End { pid, at: SystemTime::now() });
    }

    pub(super) fn all(&self) -> Vec<End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
