//! A container from its start to its end: what it writes is read as it comes, and it is stopped when its attempt is.

use std::{pin::pin, time::Duration};

use bollard::container::LogOutput;
use futures::{FutureExt, StreamExt, future::Fuse};
use shared_events::{ProgramOutput, live::LogSource};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::{
    GRACE,
    engine::{Engine, EngineError, Output},
};
use crate::kinds::{
    Context,
    output::{RecentLines, Tail},
};

/// How often lines are passed on.
const EVERY: Duration = Duration::from_millis(250);

/// How long the rest of what it has written may take to come after its end.
const REST: Duration = Duration::from_secs(2);

/// How a container ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) output: ProgramOutput,
    /// Whether it was told to.
    pub(super) stopped: bool,
    /// Whether a process of it was killed for want of memory.
    pub(super) out_of_memory: bool,
}

/// Starts a container that has been created; what it writes from then on.
pub(super) async fn begin(engine: &Engine, name: &str) -> Result<Output, EngineError> {
    let output = engine.output(name).await?;
    engine.start(name).await?;
    Ok(output)
}

/// Waits for the end of one that was begun.
pub(super) async fn to_its_end(
    engine: &Engine,
    name: &str,
    mut output: Output,
    context: &Context,
) -> Result<Ended, EngineError> {
    let (mut written, began) = (Written::default(), Instant::now());
    let mut ended = pin!(engine.ended(name));
    let mut stopping = pin!(Fuse::terminated());
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stopped, mut is_open) = (false, true);
    loop {
        tokio::select! {
            chunk = output.next(), if is_open => match chunk {
                Some(Ok(chunk)) => written.add(&chunk),
                // It has closed both, and may go on.
                Some(Err(_)) | None => is_open = false,
            },
            ended = &mut ended => break ended?,
            () = context.stopped(), if !stopped => {
                stopped = true;
                stopping.set(engine.stop(name, GRACE).fuse());
            }
            told = &mut stopping => told?,
            _ = tick.tick() => written.pass_on(context, false),
        }
    }
    let duration = began.elapsed();
    let rest = async {
        while let Some(Ok(chunk)) = output.next().await {
            written.add(&chunk);
        }
    };
    if is_open {
        let _ = timeout(REST, rest).await;
    }
    written.pass_on(context, true);
    let state = engine.state(name).await?;
    let output = ProgramOutput {
        exit_code: state.exit_code.and_then(|code| i32::try_from(code).ok()),
        signal: None,
        stdout: written.stdout.tail.captured(),
        stderr: written.stderr.tail.captured(),
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    };
    Ok(Ended { output, stopped, out_of_memory: state.oom_killed.unwrap_or_default() })
}

/// What it has written so far.
#[derive(Default)]
struct Written {
    stdout: OfOne,
    stderr: OfOne,
}

#[derive(Default)]
struct OfOne {
    tail: Tail,
    lines: RecentLines,
}

impl Written {
    fn add(&mut self, chunk: &LogOutput) {
        let (of, message) = match chunk {
            LogOutput::StdErr { message } => (&mut self.stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (&mut self.stdout, message)
            }
        };
        of.tail.add(message);
        of.lines.add(message);
    }

    /// Shows the lines that are new to those who watch.
    fn pass_on(&mut self, context: &Context, is_over: bool) {
        for (of, from) in [(&mut self.stdout, LogSource::Stdout), (&mut self.stderr, LogSource::Stderr)] {
            of.lines.take(is_over).iter().for_each(|line| context.log_from(from, line));
            of.lines.refill();
        }
    }
}
