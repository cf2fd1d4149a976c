//! The ledger: one document a run, sole judge of how a run ended. It knows neither what runs here nor who is told.

mod fence;
mod model;
mod next_step;
mod retention;
mod store;
mod transitions;

#[cfg(test)]
pub(crate) use model::tests;
pub use model::{AttemptEnd, EndedRun, NextAction, Run};
pub use next_step::{Here, NextStep, next_step};
pub use retention::Retention;
pub(crate) use store::PACING;
pub use store::{
    CancelRequest, Cancels, DueKinds, DueRuns, Ledger, RUNS, Recorded, Renewal, Runs, Standing, Taken,
};
