//! The problems of queues, for clients.

use crate::http::{problem::types::PATH_NOT_FOUND, route_problems};

route_problems! {
    /// Showing a queue: what is no queue's name leads nowhere.
    ReadProblems: PATH_NOT_FOUND;
}
