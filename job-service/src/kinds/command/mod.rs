//! `command`: runs a program of this machine (`docs/kind-command.md`).
//!
//! A supervisor process runs it (`supervisor`): this binary again. It stays until nothing of the program is left, also
//! where this worker dies, and bounds what the program uses. Here it is given its order and asked to stop.

mod allowed;
mod census;
mod leftovers;
mod processes;
mod protocol;
mod result;
mod supervisor;

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use nix::sys::prctl;
use shared_events::{JobError, payloads::Command};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Child,
    time::Instant,
};
use tracing::warn;

use self::protocol::{Limits, Order, Report, Request};
use super::{Context, Handler, HandlerResult};

pub use allowed::{AllowedPrograms, BadProgram};
pub use supervisor::{launch, supervise};

/// How long a program has to end by itself that is told to.
const GRACE: Duration = Duration::from_secs(10);

/// How much longer the supervisor has: it kills what is left, and reports.
const REPORT_GRACE: Duration = Duration::from_secs(2);

/// How many files each of a program's processes may have open.
const OPEN_FILES: u64 = 1024;

pub(super) struct CommandHandler {
    allowed: AllowedPrograms,
}

impl CommandHandler {
    /// One that runs these programs; stops what an earlier worker's supervisors left here, should they have been killed.
    pub(super) fn new(allowed: AllowedPrograms) -> Self {
        // A program of the same user could read this process's settings otherwise, passwords included.
        if let Err(error) = prctl::set_dumpable(false) {
            warn!(%error, "programs may be able to read this process's environment");
        }
        leftovers::stop();
        Self { allowed }
    }
}

#[async_trait]
impl Handler for CommandHandler {
    type Input = Command;

    fn grace(&self) -> Duration {
        GRACE + REPORT_GRACE
    }

    async fn run(&self, context: &Context, mut command: Command) -> HandlerResult {
        if !self.allowed.allows(&command.program) {
            let message = format!("this worker's COMMAND_ALLOW does not have {:?}", command.program);
            return HandlerResult::fail(JobError::new("command_not_allowed", message));
        }
        let Some(program) = allowed::locate(&command.program) else {
            let message = format!("there is no program {:?} on this worker's machine", command.program);
            return HandlerResult::fail(JobError::new("command_not_found", message));
        };
        let order = order(context, &mut command, program);
        match supervised(&order, context).await {
            Ok(report) => result::of(&command, report),
            // Dropped, or killed: whoever has its programs' names in mind stops what it has left.
            Err(error) => {
                leftovers::stop();
                HandlerResult::retry(JobError::new("command_supervisor_lost", format!("{error:#}")))
            }
        }
    }
}

fn order(context: &Context, command: &mut Command, program: PathBuf) -> Order {
    let (run, left) = (context.run_id(), context.deadline().saturating_duration_since(Instant::now()));
    let mut env = std::mem::take(&mut command.env);
    env.entry("PATH".to_owned()).or_insert_with(|| allowed::PATH.to_owned());
    let own = [
        ("HASTY_JOB_ID", run.job.to_string()),
        ("HASTY_RUN", run.run.to_string()),
        ("HASTY_RUN_ID", run.to_string()),
        ("HASTY_ATTEMPT", context.attempt().to_string()),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(trace) = context.handed_on() {
        env.insert("TRACEPARENT".to_owned(), trace.to_string());
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let limits = Limits {
        processes: command.max_processes,
        memory_bytes: u64::from(command.memory_mb) << 20,
        cpu_s: command.cpu_s.map_or_else(|| (left.as_secs() + 1) * cores, u64::from),
        open_files: OPEN_FILES,
    };
    Order {
        program,
        args: std::mem::take(&mut command.args),
        env,
        stdin: command.stdin.take(),
        working_dir: command.working_dir.take().unwrap_or_else(|| "/".to_owned()).into(),
        limits,
        grace_ms: u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Has a supervisor do it; asks it to stop when the attempt is to stop. Dropping the future closes the pipe, and the
/// supervisor takes this worker for dead.
async fn supervised(order: &Order, context: &Context) -> anyhow::Result<Report> {
    let mut supervisor = start()?;
    let mut requests = supervisor.stdin.take().context("no pipe")?;
    let mut reports = BufReader::new(supervisor.stdout.take().context("no pipe")?).lines();
    // A supervisor that dies early breaks the pipe; that it gives no report says so.
    let _ = requests.write_all(&line(order)?).await;
    let mut is_told = false;
    loop {
        tokio::select! {
            report = reports.next_line() => {
                let Some(report) = report.context("could not read the supervisor's report")? else { break };
                match serde_json::from_str(&report).context("the supervisor's report is not readable")? {
                    Report::Lines(lines) => lines.iter().for_each(|(from, line)| context.log_from(*from, line)),
                    last => return Ok(last),
                }
            }
            () = context.stopped(), if !is_told => {
                is_told = true;
                let _ = requests.write_all(&line(&Request::Stop)?).await;
            }
        }
    }
    let status = supervisor.wait().await.context("could not wait for the supervisor")?;
    anyhow::bail!("the supervisor ended without a report: {status}")
}

fn start() -> anyhow::Result<Child> {
    // The link, not the path behind it: the binary may have been replaced on disk meanwhile.
    tokio::process::Command::new("/proc/self/exe")
        .arg("supervise")
        // What is meant for this worker's group, such as Ctrl-C, is not meant for it.
        .process_group(0)
        // Programs of the same user can read its environment.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start a supervisor")
}

fn line(value: &impl serde::Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
