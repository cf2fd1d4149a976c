//! The ledger: one document a run, sole judge of how a run ended.

mod examine;
mod fence;
mod run;
mod store;

pub use examine::{Found, examine};
pub use run::{Duty, Ending, Run};
pub(crate) use store::RUNS;
pub use store::{Announced, CancelWanted, Cancels, Claimed, Ledger, Recorded, Renewal, Taken};
