//! `noop`: does nothing, at once.

use async_trait::async_trait;
use shared_events::payloads::Noop;

use super::{Context, Handler, HandlerResult};

pub(super) struct NoopHandler;

#[async_trait]
impl Handler for NoopHandler {
    type Input = Noop;

    async fn run(&self, _: &Context, _: Noop) -> HandlerResult {
        HandlerResult::Done(None)
    }
}
