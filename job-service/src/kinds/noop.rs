//! `noop`: does nothing, at once.

use async_trait::async_trait;

use super::{Attempt, Handler, Verdict};

pub(super) struct Noop;

#[async_trait]
impl Handler for Noop {
    async fn attempt(&self, _: Attempt) -> Verdict {
        Verdict::Done(None)
    }
}
