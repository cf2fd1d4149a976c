//! Attempts in a process of their own: a run that has lost two leases may be what killed its workers,
//! so it gets a child process (this binary, subcommand `attempt`), and its neighbours do not die with it.

use std::{io::Write, os::unix::process::ExitStatusExt, process::Stdio};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shared_events::{JobError, JsonText, Kind, RunId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};
use tokio_util::sync::CancellationToken;

use crate::kinds::{Attempt, Registry, Verdict};

/// How many lost leases make a run suspicious.
pub const SUSPICIOUS: u32 = 2;

/// What the child reads from its standard input.
#[derive(Serialize, Deserialize)]
struct Order {
    run: RunId,
    number: u32,
    kind: Kind,
    payload: JsonText,
}

/// What the child writes to its standard output.
#[derive(Serialize, Deserialize)]
struct Answer {
    verdict: Word,
    #[serde(default)]
    result: Option<JsonText>,
    #[serde(default)]
    error: Option<JobError>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Done,
    Retry,
    Fail,
}

/// Makes the attempt in a child process, which is killed when this future is dropped. A child that
/// dies without an answer is a failed attempt `crashed`.
pub async fn attempt(kind: &Kind, attempt: Attempt) -> Verdict {
    match ask_child(kind, attempt).await {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Retry(JobError::new("crashed", format!("{error:#}"))),
    }
}

async fn ask_child(kind: &Kind, attempt: Attempt) -> anyhow::Result<Verdict> {
    // The link, not the path behind it: the binary may have been replaced on disk meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .arg("attempt")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start a process for the attempt")?;
    let order =
        Order { run: attempt.run, number: attempt.number, kind: kind.clone(), payload: attempt.payload };
    let order = serde_json::to_vec(&order)?;
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
    let Answer { verdict, result, error } =
        serde_json::from_slice(&answer).context("the attempt's process gave no answer")?;
    let error = error.unwrap_or_else(|| JobError::new("unknown", "the attempt's process gave no reason"));
    Ok(match verdict {
        Word::Done => Verdict::Done(result),
        Word::Retry => Verdict::Retry(error),
        Word::Fail => Verdict::Fail(error),
    })
}

/// The child's side: reads the order, makes the attempt, writes the answer.
///
/// # Errors
/// Where the order can not be read or the answer not be written.
pub async fn serve_one(registry: &Registry) -> anyhow::Result<()> {
    // Blocking is fine: this process has nothing else to do.
    let order = std::io::read_to_string(std::io::stdin()).context("could not read the order")?;
    let Order { run, number, kind, payload } =
        serde_json::from_str(&order).context("the order is not readable")?;
    let attempt = Attempt { run, number, payload, stop: CancellationToken::new() };
    let (verdict, result, error) = match registry.attempt(&kind, attempt).await {
        Verdict::Done(result) => (Word::Done, result, None),
        Verdict::Retry(error) => (Word::Retry, None, Some(error)),
        Verdict::Fail(error) => (Word::Fail, None, Some(error)),
    };
    let answer = serde_json::to_vec(&Answer { verdict, result, error })?;
    let mut output = std::io::stdout().lock();
    output.write_all(&answer).and_then(|()| output.flush()).context("could not write the answer")
}
