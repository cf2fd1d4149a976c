//! `fault`: misbehaves as its payload says, so that tests can show what the platform makes of it.
//! Served only where `WORKER_FAULTS` is set.
//!
//! Payload: `{"attempts": ["retry", "panic", "done"], "pause_s": 0.1, "linger_s": 0.1, "gate": "/a/file"}`: what each
//! attempt does after the pause and as soon as there is such a file; the last one stands for all later ones. `done` has
//! an effect, which the history keeps, lingers, and is done; `tidy` waits until it is told to stop, has its effect then,
//! and stops. `hang` waits for ever, whatever it is told; `block` blocks its thread for ever. With `result_bytes` its
//! result is a JSON text of so many bytes; with `error_bytes` the message of an error is so many bytes of what JSON has
//! to escape. With `percent` and `log` (lines) it says so after the pause. With `after_s` a retry says when to try again;
//! with `output` errors carry one.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use shared_events::{JobError, JsonText, payloads::Payload};
use tracing::{Instrument, info_span};
use utoipa::ToSchema;

use super::{Context, Handler, HandlerResult};
use crate::history::History;

pub(super) struct FaultHandler(pub(super) History);

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Fault {
    attempts: Vec<Act>,
    #[serde(default)]
    pause_s: f64,
    #[serde(default)]
    linger_s: f64,
    result_bytes: Option<usize>,
    error_bytes: Option<usize>,
    #[schema(value_type = Option<String>)]
    gate: Option<PathBuf>,
    after_s: Option<f64>,
    percent: Option<f64>,
    #[serde(default)]
    log: Vec<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<JsonText>,
}

impl Payload for Fault {
    const KIND: &'static str = "fault";
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Act {
    Done,
    Retry,
    Fail,
    Panic,
    Abort,
    Hang,
    Block,
    Tidy,
}

#[async_trait]
impl Handler for FaultHandler {
    type Input = Fault;

    async fn run(&self, context: &Context, payload: Fault) -> HandlerResult {
        pause(payload.pause_s).instrument(info_span!("pause", seconds = payload.pause_s)).await;
        payload.log.iter().for_each(|line| context.log(line));
        if let Some(percent) = payload.percent {
            context.progress(percent, "as told");
        }
        while payload.gate.as_ref().is_some_and(|gate| !gate.exists()) {
            pause(0.01).await;
        }
        let (run, number) = (context.run_id(), context.attempt());
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let act = payload.attempts.get(index).or(payload.attempts.last()).copied().unwrap_or(Act::Done);
        let message = match payload.error_bytes {
            Some(bytes) => "\u{1}".repeat(bytes),
            None => format!("attempt {number} was to go wrong"),
        };
        let error = || JobError::new("planned", message);
        match act {
            Act::Done => {
                self.0.effect(run, number);
                pause(payload.linger_s).await;
                match payload.result_bytes {
                    // Two of them are its quotes.
                    Some(bytes) => HandlerResult::done(&json!("x".repeat(bytes.saturating_sub(2)))),
                    None => HandlerResult::done(&json!({ "attempt": number })),
                }
            }
            Act::Retry => {
                let after = payload.after_s.map(Duration::from_secs_f64);
                HandlerResult::Retry { error: error(), after, output: payload.output }
            }
            Act::Fail => HandlerResult::Fail { error: error(), output: payload.output },
            Act::Panic => panic!("attempt {number} was to panic"),
            Act::Abort => std::process::abort(),
            Act::Hang => std::future::pending().await,
            Act::Block => loop {
                std::thread::park();
            },
            Act::Tidy => {
                context.stopped().await;
                self.0.effect(run, number);
                HandlerResult::Stopped(payload.output)
            }
        }
    }
}

async fn pause(seconds: f64) {
    if seconds > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(seconds.min(3600.0))).await;
    }
}
