//! `shuffle`: waits, then answers a random permutation of the text's characters.

use std::time::Duration;

use async_trait::async_trait;
use rand::seq::SliceRandom;
use serde_json::json;
use shared_events::payloads::Shuffle;

use super::{Context, Handler, HandlerResult};

pub(super) struct ShuffleHandler;

#[async_trait]
impl Handler for ShuffleHandler {
    type Input = Shuffle;

    async fn run(&self, context: &Context, Shuffle { text, pause_s }: Shuffle) -> HandlerResult {
        if !context.sleep(Duration::from_secs_f64(pause_s)).await {
            return HandlerResult::Stopped(None);
        }
        HandlerResult::done(&json!({ "text": shuffled(&text) }))
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
