//! The process that runs one program for a worker, and is not gone before everything is that the program has started.
//!
//! It is what orphans of the program fall to (a child subreaper), so that whoever forks away, starts a session or closes
//! its outputs stays its descendant, and it ends only when the system says that it has no children. The worker's death is
//! the end of its standard input.

mod capture;
mod launch;
mod phase;
mod worker;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
};
use shared_events::{ProgramOutput, live::LogSource};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
};

use super::{
    census::Census,
    leftovers,
    processes::{self, Process},
    protocol::{Exceeded, Order, Report, Request},
};

pub use launch::launch;

use capture::Capture;
use phase::Phase;
use worker::{Heard, Worker};

/// How long what a program leaves behind has to end once it is told to.
const LEFT_BEHIND_GRACE: Duration = Duration::from_secs(1);

/// The same of a program whose worker is gone: somebody else will soon run it again.
const WORKER_GONE_GRACE: Duration = Duration::from_secs(2);

/// The shortest time from one report of lines to the next.
const LINES_PACE: Duration = Duration::from_millis(200);

/// How long outputs are read after the last process is gone: somebody else may hold them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs what the worker orders on the standard input, and reports on the standard output.
#[must_use]
pub fn supervise() -> ExitCode {
    let supervised = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run()));
    match supervised {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    prctl::set_child_subreaper(true).context("could not become a subreaper")?;
    let mut worker = Worker::connect()?;
    let Some(order) = worker.order().await? else { return Ok(()) };
    let name = leftovers::own_name();
    let report = match launch::start(&order, &name) {
        Ok(child) => Supervisor::new(order, child)?.run(&mut worker, &name).await?,
        Err(error) => Report::NotStarted(format!("{error:#}")),
    };
    worker.report(&report).await
}

struct Supervisor {
    order: Order,
    stdin: Option<pipe::Sender>,
    stdout: Capture<pipe::Receiver>,
    stderr: Capture<pipe::Receiver>,
    own_pid: i32,
    main_pid: i32,
    started: Instant,
    /// How the program itself ended, and when.
    ended: Option<(WaitStatus, Duration)>,
    has_children: bool,
    phase: Phase,
    /// Whether the program was told to end before it did.
    stopped: bool,
    census: Census,
    exceeded: Option<Exceeded>,
    next_look: Instant,
    next_lines: Instant,
}

impl Supervisor {
    fn new(order: Order, mut child: std::process::Child) -> anyhow::Result<Self> {
        let stdout = child.stdout.take().context("no pipe")?;
        let stderr = child.stderr.take().context("no pipe")?;
        let stdin = child.stdin.take().map(|stdin| pipe::Sender::from_owned_fd(stdin.into())).transpose()?;
        let started = Instant::now();
        Ok(Self {
            order,
            stdin,
            stdout: Capture::new(pipe::Receiver::from_owned_fd(stdout.into())?),
            stderr: Capture::new(pipe::Receiver::from_owned_fd(stderr.into())?),
            own_pid: i32::try_from(std::process::id())?,
            main_pid: i32::try_from(child.id())?,
            started,
            ended: None,
            has_children: true,
            phase: Phase::Running,
            stopped: false,
            census: Census::default(),
            exceeded: None,
            next_look: started,
            next_lines: started,
        })
    }

    async fn run(mut self, worker: &mut Worker, name: &str) -> anyhow::Result<Report> {
        let mut children = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let grace = Duration::from_millis(self.order.grace_ms);
        let mut input = Box::pin(feed(self.stdin.take(), self.order.stdin.take()));
        let mut is_fed = false;
        while self.has_children {
            let has_lines = !self.stdout.lines.is_empty() || !self.stderr.lines.is_empty();
            // One that does not take what there is gets no more.
            let may_say = has_lines && worker.is_idle();
            tokio::select! {
                _ = children.recv() => self.look(),
                said = worker.hear_and_send() => match said {
                    Heard::Nothing => {}
                    Heard::Request(Request::Stop) => self.stop(grace),
                    Heard::End => self.stop(grace.min(WORKER_GONE_GRACE)),
                },
                () = tokio::time::sleep_until(self.next_lines.into()), if may_say => {
                    worker.say(&Report::Lines(self.lines(false)))?;
                    self.next_lines = Instant::now() + LINES_PACE;
                }
                _ = terminate.recv() => self.stop(grace),
                () = self.stdout.read() => {}
                () = self.stderr.read() => {}
                () = &mut input, if !is_fed => is_fed = true,
                () = tokio::time::sleep_until(self.next_look.into()) => self.look(),
            }
        }
        self.last_words().await;
        let lines = self.lines(true);
        if !lines.is_empty() {
            worker.say(&Report::Lines(lines))?;
        }
        Ok(self.report(name))
    }

    /// The lines that were written since this was asked last.
    fn lines(&mut self, is_over: bool) -> Vec<(LogSource, String)> {
        let stdout = self.stdout.lines.take(is_over).into_iter().map(|line| (LogSource::Stdout, line));
        let stderr = self.stderr.lines.take(is_over).into_iter().map(|line| (LogSource::Stderr, line));
        stdout.chain(stderr).collect()
    }

    /// Has all end, the sooner the earlier it was asked for.
    fn stop(&mut self, grace: Duration) {
        let until = Instant::now() + grace;
        match self.phase {
            Phase::Running => {
                self.stopped = self.ended.is_none();
                self.terminate(until);
            }
            Phase::Terminating(earlier) => self.phase = Phase::Terminating(earlier.min(until)),
            Phase::Killing => {}
        }
        self.next_look = Instant::now();
    }

    fn terminate(&mut self, until: Instant) {
        for process in self.alive() {
            processes::signal(process.pid, Signal::SIGTERM);
            // One that stands still would not notice.
            processes::signal(process.pid, Signal::SIGCONT);
        }
        self.phase = Phase::Terminating(until);
    }

    /// Notices who has ended, and does what is next.
    fn look(&mut self) {
        self.reap();
        self.stdout.lines.refill();
        self.stderr.lines.refill();
        let before = Instant::now();
        match self.phase {
            Phase::Running if self.ended.is_some() && self.has_children => {
                self.terminate(before + LEFT_BEHIND_GRACE);
            }
            Phase::Terminating(until) if until <= before => self.phase = Phase::Killing,
            Phase::Running | Phase::Terminating(_) if self.next_look <= before => {
                self.exceeded = self.census.take(self.own_pid, self.order.limits);
                if self.exceeded.is_some() {
                    self.phase = Phase::Killing;
                }
            }
            Phase::Running | Phase::Terminating(_) | Phase::Killing => {}
        }
        if self.phase == Phase::Killing && self.has_children {
            self.kill();
        }
        // A machine with many processes takes long to look at.
        let pause = self.phase.pause().max(20 * before.elapsed());
        if self.next_look <= before || self.phase != Phase::Running {
            self.next_look = Instant::now() + pause;
        }
    }

    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return,
                Ok(status) => {
                    if status.pid().is_some_and(|pid| pid.as_raw() == self.main_pid) {
                        self.ended = Some((status, self.started.elapsed()));
                    }
                }
                Err(Errno::EINTR) => {}
                // There are none: not even orphans, which would be children by now.
                Err(_) => {
                    self.has_children = false;
                    return;
                }
            }
        }
    }

    fn alive(&self) -> impl Iterator<Item = Process> {
        processes::descendants(self.own_pid).into_iter().filter(|process| !process.has_ended)
    }

    /// Kills all: they are made to stand still first, until none is found that does not, so that none starts others.
    fn kill(&self) {
        let mut still = std::collections::HashSet::new();
        loop {
            let moving: Vec<i32> =
                self.alive().map(|process| process.pid).filter(|pid| still.insert(*pid)).collect();
            if moving.is_empty() {
                break;
            }
            moving.iter().for_each(|pid| processes::signal(*pid, Signal::SIGSTOP));
        }
        still.iter().for_each(|pid| processes::signal(*pid, Signal::SIGKILL));
    }

    async fn last_words(&mut self) {
        let _ = tokio::time::timeout(LAST_WORDS, async {
            while !self.stdout.is_at_end() || !self.stderr.is_at_end() {
                tokio::select! {
                    () = self.stdout.read() => {}
                    () = self.stderr.read() => {}
                }
            }
        })
        .await;
    }

    fn report(mut self, name: &str) -> Report {
        let (exit_code, signal) = match self.ended {
            Some((WaitStatus::Exited(_, code), _)) => (Some(code), None),
            Some((WaitStatus::Signaled(_, signal, _), _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        let ran = self.ended.map_or_else(|| self.started.elapsed(), |(_, ran)| ran);
        let duration_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
        let (stdout, stderr) = (self.stdout.tail.captured(), self.stderr.tail.captured());
        if let Some(reason) = launch::not_started(exit_code, &stderr.text, name) {
            return Report::NotStarted(reason);
        }
        let output = ProgramOutput { exit_code, signal, stdout, stderr, duration_ms };
        Report::Ended { output, stopped: self.stopped, exceeded: self.exceeded }
    }
}

/// Gives the program what it is to read; one that does not want it needs it not.
async fn feed(to: Option<pipe::Sender>, text: Option<String>) {
    if let (Some(mut to), Some(text)) = (to, text) {
        let _ = to.write_all(text.as_bytes()).await;
    }
}
