//! The process that becomes the program: sets its limits on itself, and executes it.

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::Context;
use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd::{Pid, Uid, getppid, setsid},
};
use serde::{Deserialize, Serialize};

use super::super::{
    leftovers::SUPERVISOR,
    processes,
    protocol::{Limits, Order},
};

/// What a shell says of a program that it can not run.
const NOT_RUN: i32 = 127;

/// How many times its own processes a program's user may have more of: that brakes one that starts them faster than they
/// are counted. Others of the same user may start theirs meanwhile.
const USER_TASKS: u64 = 16;

/// What the launcher has to know besides program, arguments, environment and folder.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    limits: Limits,
    /// Processes and threads that the user may have; none where that is not limited.
    user_tasks: Option<u64>,
    program: PathBuf,
}

/// Starts the program, with pipes for what it reads and writes. `supervisor` names this process.
pub(super) fn start(order: &Order, supervisor: &str) -> anyhow::Result<Child> {
    let uid = Uid::effective();
    let room = USER_TASKS * u64::from(order.limits.processes);
    // The kernel does not limit root.
    let user_tasks = (!uid.is_root()).then(|| processes::tasks_of_user(uid.as_raw()) + room);
    let plan = Plan { limits: order.limits, user_tasks, program: order.program.clone() };
    let stdin = if order.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    // The link, not the path behind it: the binary may have been replaced on disk meanwhile.
    Command::new("/proc/self/exe")
        .arg("launch")
        .arg(serde_json::to_string(&plan)?)
        .arg("--")
        .args(&order.args)
        .env_clear()
        .envs(&order.env)
        .env(SUPERVISOR, supervisor)
        .current_dir(&order.working_dir)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not be started in {}", order.working_dir.display()))
}

/// Becomes the program that the plan names; returns only where that is not possible.
#[must_use]
pub fn launch(plan: &str, args: &[String]) -> ExitCode {
    let error = match become_program(plan, args) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprint!("{}{error:#}", mark(&std::env::var(SUPERVISOR).unwrap_or_default()));
    ExitCode::from(u8::try_from(NOT_RUN).unwrap_or(u8::MAX))
}

/// What the launcher writes before the reason for which there is no program.
fn mark(supervisor: &str) -> String {
    format!("launch by {supervisor}: ")
}

/// Why it was not started, where this is what the launcher has said.
pub(super) fn not_started(exit_code: Option<i32>, stderr: &str, supervisor: &str) -> Option<String> {
    let reason = stderr.strip_prefix(&mark(supervisor)).filter(|_| exit_code == Some(NOT_RUN));
    reason.map(str::to_owned)
}

fn become_program(plan: &str, args: &[String]) -> anyhow::Result<std::convert::Infallible> {
    let Plan { limits, user_tasks, program } = serde_json::from_str(plan).context("no plan")?;
    // Where its supervisor dies, so does it.
    prctl::set_pdeathsig(Signal::SIGKILL).context("could not tie it to its supervisor")?;
    anyhow::ensure!(getppid() != Pid::from_raw(1) || supervisor_is_first(), "its supervisor is gone");
    // A program that gained rights could not be stopped any more.
    prctl::set_no_new_privs().context("could not keep it from gaining rights")?;
    setsid().context("could not start a session")?;
    // Where memory is short, it goes before the worker. Not everywhere is there such a file.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let limit = |resource, most: u64, name: &str| {
        let hard = getrlimit(resource).map_or(most, |(_, hard)| hard.min(most + more(resource)));
        setrlimit(resource, hard.min(most), hard).with_context(|| format!("could not limit {name}"))
    };
    limit(Resource::RLIMIT_CORE, 0, "core dumps")?;
    limit(Resource::RLIMIT_DATA, limits.memory_bytes, "memory")?;
    limit(Resource::RLIMIT_CPU, limits.cpu_s, "CPU time")?;
    limit(Resource::RLIMIT_NOFILE, limits.open_files, "open files")?;
    if let Some(tasks) = user_tasks {
        limit(Resource::RLIMIT_NPROC, tasks, "processes")?;
    }
    let error = Command::new(&program).args(args).exec();
    Err(error).with_context(|| format!("could not execute {}", program.display()))
}

/// Over its CPU time it is told so by SIGXCPU, and a moment later killed.
fn more(resource: Resource) -> u64 {
    if matches!(resource, Resource::RLIMIT_CPU) { 5 } else { 0 }
}

/// Whether the supervisor is the machine's, or the container's, first process.
fn supervisor_is_first() -> bool {
    std::env::var(SUPERVISOR).is_ok_and(|name| name.starts_with("1:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_exits_like_a_launcher_is_none() {
        let said = format!("{}could not execute /a: no such file", mark("7:8"));
        assert_eq!(
            not_started(Some(127), &said, "7:8").as_deref(),
            Some("could not execute /a: no such file")
        );
        assert_eq!(not_started(Some(127), "sh: no such command", "7:8"), None);
        assert_eq!(not_started(Some(1), &said, "7:8"), None);
        assert_eq!(not_started(None, &said, "7:8"), None);
    }
}
