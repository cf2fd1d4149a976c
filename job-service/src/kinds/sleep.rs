//! `sleep`: sleeps, and says for how long.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use shared_events::payloads::read_sleep;

use super::{Attempt, Handler, Verdict, bad_payload, done};

pub(super) struct Sleep;

#[async_trait]
impl Handler for Sleep {
    async fn attempt(&self, attempt: Attempt) -> Verdict {
        let payload = match read_sleep(&attempt.payload) {
            Ok(payload) => payload,
            Err(error) => return bad_payload(&error),
        };
        let seconds = rand::random_range(payload.min_s..=payload.max_s);
        let millis = (seconds * 1000.0).round();
        tokio::time::sleep(Duration::from_secs_f64(millis / 1000.0)).await;
        done(&json!({ "slept_s": millis / 1000.0 }))
    }
}
