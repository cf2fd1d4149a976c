//! Queues: how many jobs wait in each, run and have ended lately.
//!
//! What is open is counted in the database, by an index that has an entry for each job that has not ended. What has
//! ended is counted as events are applied, in memory, and the replicas tell each other.

mod count;
mod ended;
mod exchange;
mod overview;
mod problems;
mod routes;
mod store;

pub use count::Count;
pub use ended::{Ended, EndedCounts, WINDOW};
pub use exchange::exchange;
pub use overview::{QueueState, Queues, Totals};
pub use routes::{EndedView, configure};
pub use store::Open;
