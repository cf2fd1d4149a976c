//! `sleep`: sleeps, and says for how long.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use shared_events::payloads::Sleep;

use super::{Context, Handler, HandlerResult};

pub(super) struct SleepHandler;

#[async_trait]
impl Handler for SleepHandler {
    type Input = Sleep;

    async fn run(&self, context: &Context, sleep: Sleep) -> HandlerResult {
        let (min_s, max_s) = sleep.range_s();
        let millis = (rand::random_range(min_s..=max_s) * 1000.0).round();
        if !context.sleep(Duration::from_secs_f64(millis / 1000.0)).await {
            return HandlerResult::Stopped(None);
        }
        HandlerResult::done(&json!({ "slept_s": millis / 1000.0 }))
    }
}
