//! `shuffle`: waits, then answers a random permutation of the text's characters.

use std::time::Duration;

use async_trait::async_trait;
use rand::seq::SliceRandom;
use serde_json::json;
use shared_events::payloads::read_shuffle;

use super::{Attempt, Handler, Verdict, bad_payload, done};

pub(super) struct Shuffle;

#[async_trait]
impl Handler for Shuffle {
    async fn attempt(&self, attempt: Attempt) -> Verdict {
        let payload = match read_shuffle(&attempt.payload) {
            Ok(payload) => payload,
            Err(error) => return bad_payload(&error),
        };
        tokio::time::sleep(Duration::from_secs_f64(payload.pause_s)).await;
        done(&json!({ "text": shuffled(&payload.text) }))
    }
}

fn shuffled(text: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    characters.shuffle(&mut rand::rng());
    characters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_character_is_lost_or_added(text in "\\PC{0,40}") {
            let sorted = |text: &str| {
                let mut characters: Vec<char> = text.chars().collect();
                characters.sort_unstable();
                characters
            };
            prop_assert_eq!(sorted(&shuffled(&text)), sorted(&text));
        }
    }
}
