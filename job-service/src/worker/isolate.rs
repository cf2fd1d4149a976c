//! Attempts in a process of their own: a run that has lost two leases may be what killed its workers,
//! so it gets a child process (this binary, subcommand `attempt`), and its neighbours do not die with it.

use std::{io::Write, os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shared_events::{JobError, JsonText, Kind, RunId, TraceContext, WorkerId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::kinds::{Context as AttemptContext, HandlerResult, Registry};

/// How many lost leases make a run suspicious.
pub(super) const SUSPICIOUS: u32 = 2;

/// What the child reads from its standard input.
#[derive(Serialize, Deserialize)]
struct Order {
    run: RunId,
    attempt: u32,
    /// How much of its time is left.
    timeout_ms: u64,
    trace: Option<TraceContext>,
    has_span: bool,
    worker: Option<WorkerId>,
    kind: Kind,
    payload: JsonText,
}

/// What the child writes to its standard output. A tag inside would not do: serde can not keep the text of a
/// [`JsonText`] then.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done { result: Option<JsonText> },
    Retry { error: JobError, after_ms: Option<u64>, output: Option<JsonText> },
    Fail { error: JobError, output: Option<JsonText> },
    NotNow { error: JobError },
    Stopped { output: Option<JsonText> },
}

impl From<HandlerResult> for Answer {
    fn from(result: HandlerResult) -> Self {
        match result {
            HandlerResult::Done(result) => Self::Done { result },
            HandlerResult::Retry { error, after, output } => {
                let after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                Self::Retry { error, after_ms, output }
            }
            HandlerResult::Fail { error, output } => Self::Fail { error, output },
            HandlerResult::NotNow(error) => Self::NotNow { error },
            HandlerResult::Stopped(output) => Self::Stopped { output },
        }
    }
}

impl From<Answer> for HandlerResult {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done { result } => Self::Done(result),
            Answer::Retry { error, after_ms, output } => {
                Self::Retry { error, after: after_ms.map(Duration::from_millis), output }
            }
            Answer::Fail { error, output } => Self::Fail { error, output },
            Answer::NotNow { error } => Self::NotNow(error),
            Answer::Stopped { output } => Self::Stopped(output),
        }
    }
}

/// Makes the attempt in a child process, which is killed when this future is dropped. A child that
/// dies without an answer is a failed attempt `crashed`.
pub(super) async fn run(kind: &Kind, context: AttemptContext, payload: JsonText) -> HandlerResult {
    let left = context.deadline().saturating_duration_since(Instant::now());
    let order = Order {
        run: context.run_id(),
        attempt: context.attempt(),
        timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        trace: context.trace(),
        has_span: context.has_span(),
        worker: context.worker().cloned(),
        kind: kind.clone(),
        payload,
    };
    let asked = tokio::select! {
        asked = ask_child(&order) => asked,
        // It does not hear of it: it is killed at once.
        () = context.stopped() => return HandlerResult::Stopped(None),
    };
    match asked {
        Ok(result) => result,
        Err(error) => HandlerResult::retry(JobError::new("crashed", format!("{error:#}"))),
    }
}

async fn ask_child(order: &Order) -> anyhow::Result<HandlerResult> {
    // The link, not the path behind it: the binary may have been replaced on disk meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .arg("attempt")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start a process for the attempt")?;
    let order = serde_json::to_vec(order)?;
    let (mut input, mut output) =
        (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
    let mut answer = Vec::new();
    let talk = async {
        // A child that dies early breaks the pipe; how it died says more.
        let _ = input.write_all(&order).await;
        drop(input);
        output.read_to_end(&mut answer).await
    };
    talk.await.context("could not read the answer of the attempt's process")?;
    let status = child.wait().await.context("could not wait for the attempt's process")?;
    if let Some(signal) = status.signal() {
        anyhow::bail!("the attempt's process was killed by signal {signal}");
    }
    anyhow::ensure!(status.success(), "the attempt's process ended with {status}");
    let answer: Answer = serde_json::from_slice(&answer).context("the attempt's process gave no answer")?;
    Ok(answer.into())
}

/// The child's side: reads the order, makes the attempt, writes the answer.
///
/// # Errors
/// Where the order can not be read or the answer not be written.
pub async fn serve_one(registry: &Registry) -> anyhow::Result<()> {
    // Blocking is fine: this process has nothing else to do.
    let order = std::io::read_to_string(std::io::stdin()).context("could not read the order")?;
    let Order { run, attempt, timeout_ms, trace, has_span, worker, kind, payload } =
        serde_json::from_str(&order).context("the order is not readable")?;
    let timeout = Duration::from_millis(timeout_ms);
    let context = AttemptContext::new(run, attempt, timeout, CancellationToken::new());
    let context = context.with_trace(trace, has_span).by(worker);
    let answer: Answer = registry.run(&kind, context, &payload).await.into();
    let answer = serde_json::to_vec(&answer)?;
    let mut output = std::io::stdout().lock();
    output.write_all(&answer).and_then(|()| output.flush()).context("could not write the answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_handler_returns_comes_through_the_pipe() {
        let text = || Some(JsonText::from_stored(r#"{"n":1.50}"#.to_owned()).unwrap());
        let error = || JobError::new("broken", "it is");
        let results = [
            HandlerResult::Done(None),
            HandlerResult::Done(text()),
            HandlerResult::Retry { error: error(), after: Some(Duration::from_millis(5)), output: text() },
            HandlerResult::Retry { error: error(), after: None, output: None },
            HandlerResult::Fail { error: error(), output: text() },
            HandlerResult::NotNow(error()),
            HandlerResult::Stopped(text()),
        ];
        for result in results {
            let written = serde_json::to_vec(&Answer::from(result.clone())).unwrap();
            let read: Answer = serde_json::from_slice(&written).unwrap();
            assert_eq!(HandlerResult::from(read), result);
        }
    }
}
