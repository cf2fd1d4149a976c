//! `fault`: misbehaves as its payload says, so that tests can show what the platform makes of it.
//! Served only where `WORKER_FAULTS` is set.
//!
//! Payload: `{"attempts": ["retry", "panic", "done"], "pause_s": 0.1, "linger_s": 0.1, "gate": "/a/file"}`: what each
//! attempt does after the pause and as soon as there is such a file; the last one stands for all later ones. `done` has
//! an effect, which the chronicle keeps, lingers, and is done. `hang` waits for ever, `block` blocks its thread for
//! ever. With `result_bytes` its result is a JSON text of so many bytes; with `error_bytes` the message of an error is
//! so many bytes of what JSON has to escape.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use shared_events::JobError;

use super::{Attempt, Handler, Verdict, done};
use crate::chronicle::Chronicle;

pub(super) struct Fault(pub(super) Chronicle);

#[derive(Debug, Deserialize)]
struct Payload {
    attempts: Vec<Act>,
    #[serde(default)]
    pause_s: f64,
    #[serde(default)]
    linger_s: f64,
    result_bytes: Option<usize>,
    error_bytes: Option<usize>,
    gate: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    Done,
    Retry,
    Fail,
    Panic,
    Abort,
    Hang,
    Block,
}

#[async_trait]
impl Handler for Fault {
    async fn attempt(&self, attempt: Attempt) -> Verdict {
        let payload: Payload = match serde_json::from_str(attempt.payload.as_str()) {
            Ok(payload) => payload,
            Err(error) => return Verdict::Fail(JobError::new("bad_payload", error.to_string())),
        };
        pause(payload.pause_s).await;
        while payload.gate.as_ref().is_some_and(|gate| !gate.exists()) {
            pause(0.01).await;
        }
        let index = usize::try_from(attempt.number - 1).unwrap_or(usize::MAX);
        let act = payload.attempts.get(index).or(payload.attempts.last()).copied().unwrap_or(Act::Done);
        let message = match payload.error_bytes {
            Some(bytes) => "\u{1}".repeat(bytes),
            None => format!("attempt {} was to go wrong", attempt.number),
        };
        let planned = || JobError::new("planned", message);
        match act {
            Act::Done => {
                self.0.effect(attempt.run, attempt.number);
                pause(payload.linger_s).await;
                match payload.result_bytes {
                    // Two of them are its quotes.
                    Some(bytes) => done(&json!("x".repeat(bytes.saturating_sub(2)))),
                    None => done(&json!({ "attempt": attempt.number })),
                }
            }
            Act::Retry => Verdict::Retry(planned()),
            Act::Fail => Verdict::Fail(planned()),
            Act::Panic => panic!("attempt {} was to panic", attempt.number),
            Act::Abort => std::process::abort(),
            Act::Hang => std::future::pending().await,
            Act::Block => loop {
                std::thread::park();
            },
        }
    }
}

async fn pause(seconds: f64) {
    if seconds > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(seconds.min(3600.0))).await;
    }
}
