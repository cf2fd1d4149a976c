//! Who holds a run. Every write on behalf of an attempt compares all of it, so that nobody else's is taken.

use bson::{
    RawDocumentBuf,
    raw::{RawBsonRef, cstr},
};
use shared_events::WorkerId;

/// An attempt together with the worker that made it. The number alone is not enough: where the database lost a claim,
/// another worker's claim of the same run has the same number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Fence {
    attempt: u32,
    /// None where nobody ever claimed the run.
    worker: Option<WorkerId>,
}

impl Fence {
    pub(super) const fn new(attempt: u32, worker: Option<WorkerId>) -> Self {
        Self { attempt, worker }
    }

    /// What a document of this holder has, as a filter.
    pub(super) fn filter(&self) -> RawDocumentBuf {
        let mut filter = RawDocumentBuf::new();
        filter.append(cstr!("attempt"), i64::from(self.attempt));
        match &self.worker {
            Some(worker) => filter.append(cstr!("worker"), worker.as_str()),
            // That matches documents without the field.
            None => filter.append(cstr!("worker"), RawBsonRef::Null),
        }
        filter
    }
}
