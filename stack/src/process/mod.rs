//! One child process that can be started, stopped, killed, paused and started again.
//!
//! It never outlives this process (see `spawner`), and dropping the last handle kills and reaps it.

mod ends;
mod log;
mod spawner;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

pub use ends::End;
pub use log::{Log, Sink};

use ends::Ends;

/// How long [`Process::terminate`] waits before it turns to SIGKILL.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(60);

/// How to start a process.
#[derive(Debug)]
pub struct Spec {
    /// What it is called; its log is a file of this name.
    pub name: String,
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What is added to its environment.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub dir: PathBuf,
    /// What the kernel sends when this process dies. SIGKILL, unless it has children of its own to take along.
    pub at_parents_death: Signal,
}

/// A handle on one supervised process; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spec: Mutex<Spec>,
    name: String,
    log: Arc<Log>,
    life: Arc<watch::Sender<Life>>,
    ends: Arc<Ends>,
    /// Also held while starting, so that two callers start one process.
    monitor: Mutex<Monitor>,
}

#[derive(Debug, Default)]
struct Monitor {
    thread: Option<JoinHandle<()>>,
    /// Its stack is gone: it may not be started any more.
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Life {
    NotStarted,
    Running(Pid),
    Ended(ExitStatus),
}

impl Process {
    /// A process that is not started yet, which logs into a file in the folder `logs`, and line by line into `sink`.
    ///
    /// # Errors
    /// Where the log can not be opened.
    pub fn new(spec: Spec, logs: &Path, sink: Option<Sink>) -> Result<Self> {
        let path = logs.join(format!("{}.log", spec.name));
        let log = Log::open(&spec.name, path.clone(), sink)
            .with_context(|| format!("could not open the log {}", path.display()))?;
        let inner = Inner {
            name: spec.name.clone(),
            spec: Mutex::new(spec),
            log: Arc::new(log),
            life: Arc::new(watch::Sender::new(Life::NotStarted)),
            ends: Arc::default(),
            monitor: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// `api-1`, `worker-2`, `nats`, `api-mongo`, `job-mongo` or `nginx`. Replicas are counted from 1.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it printed.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        match *self.inner.life.borrow() {
            Life::Running(pid) => u32::try_from(pid.as_raw()).ok(),
            _ => None,
        }
    }

    /// Its ends so far, the latest last.
    pub fn ends(&self) -> Vec<End> {
        self.inner.ends.all()
    }

    /// Whether it runs (a paused one does).
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Sets a variable for the next start.
    pub fn set_env(&self, name: &str, value: &str) {
        let mut spec = locked(&self.inner.spec);
        spec.env.retain(|(known, _)| known != name);
        spec.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it, and does not wait until it answers. Does nothing where it runs already.
    pub fn launch(&self) -> Result<()> {
        let mut monitor = locked(&self.inner.monitor);
        if monitor.closed {
            bail!("{} cannot be started: its stack is gone", self.name());
        }
        if self.is_running() {
            return Ok(());
        }
        let starting = || format!("could not start {}", self.name());
        let (output, input) = io::pipe().with_context(starting)?;
        let (command, at_parents_death) = self.command(input).with_context(starting)?;
        let child = spawner::spawn(command, at_parents_death).with_context(starting)?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.inner.life.send_replace(Life::Running(pid));
        let Inner { log, life, ends, .. } = self.inner.as_ref();
        let (log, life, ends) = (log.clone(), life.clone(), ends.clone());
        monitor.thread = Some(thread::spawn(move || wait_for_end(child, pid, output, log, &life, &ends)));
        Ok(())
    }

    fn command(&self, output: io::PipeWriter) -> io::Result<(Command, Signal)> {
        let spec = locked(&self.inner.spec);
        let mut command = Command::new(&spec.program);
        command.args(&spec.args).envs(spec.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&spec.dir).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok((command, spec.at_parents_death))
    }

    /// Waits until it has ended, and says how.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let mut life = self.inner.life.subscribe();
        let ended = life.wait_for(|life| !matches!(life, Life::Running(_))).await?;
        match *ended {
            Life::Ended(status) => Ok(status),
            _ => bail!("{} was never started", self.name()),
        }
    }

    /// SIGKILL, as the machine's death would look to the others, for it and all it started; waits for the end.
    pub async fn kill(&self) -> Result<ExitStatus> {
        self.signal_all(Signal::SIGKILL);
        self.wait().await
    }

    /// SIGTERM, then waits for the end. After a minute it is killed; the status says so.
    pub async fn terminate(&self) -> Result<ExitStatus> {
        self.terminate_within(TERMINATE_TIMEOUT).await
    }

    /// SIGTERM, then waits for the end for at most `timeout`, then SIGKILL; the status says which it was.
    pub async fn terminate_within(&self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // A paused process would not notice.
        self.resume();
        match tokio::time::timeout(timeout, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => self.kill().await,
        }
    }

    /// SIGSTOP: it stands still, with its connections open and its leases running out, until [`Self::resume`].
    /// When this returns, all its threads stand; false where it does not run.
    pub fn pause(&self) -> bool {
        let stopped_or_ended = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        self.while_running(|pid| {
            // The signal alone returns before it has reached every thread. What it has started is stopped after it:
            // a child stopped between vfork and exec would hold up the thread that started it for ever.
            let stopped = kill(pid, Signal::SIGSTOP).and_then(|()| waitid(Id::Pid(pid), stopped_or_ended));
            matches!(stopped, Ok(WaitStatus::Stopped(..))) && killpg(pid, Signal::SIGSTOP).is_ok()
        })
    }

    /// Whether it stands still, all its threads: paused from outside, or by itself at a failpoint.
    pub fn is_paused(&self) -> bool {
        let look = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.while_running(|pid| matches!(waitid(Id::Pid(pid), look), Ok(WaitStatus::Stopped(..))))
    }

    /// SIGCONT after [`Self::pause`], or after it has paused itself.
    pub fn resume(&self) -> bool {
        self.signal_all(Signal::SIGCONT)
    }

    /// Sends any signal to it alone; false where it does not run.
    pub fn signal(&self, signal: Signal) -> bool {
        self.while_running(|pid| kill(pid, signal).is_ok())
    }

    fn signal_all(&self, signal: Signal) -> bool {
        self.while_running(|pid| killpg(pid, signal).is_ok())
    }

    /// Kills and reaps it for good, whoever else still has a handle on it.
    pub(crate) fn close(&self) {
        self.inner.close();
    }

    /// The borrow locks `life` while the signal is sent. A process is reaped under the same lock, so the
    /// number cannot have gone to a stranger in between.
    fn while_running(&self, act: impl FnOnce(Pid) -> bool) -> bool {
        match *self.inner.life.borrow() {
            Life::Running(pid) => act(pid),
            _ => false,
        }
    }
}

impl Inner {
    fn close(&self) {
        let mut monitor = locked(&self.monitor);
        monitor.closed = true;
        if let Life::Running(pid) = *self.life.borrow() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        if let Some(thread) = monitor.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for a process until its end: keeps its output, and reaps it.
fn wait_for_end(
    mut child: Child,
    pid: Pid,
    output: io::PipeReader,
    log: Arc<Log>,
    life: &watch::Sender<Life>,
    ends: &Ends,
) {
    let (read, all_read) = mpsc::channel::<()>();
    thread::spawn(move || {
        log.follow(output);
        drop(read);
    });
    // Leaves it a zombie for now, so that its number stays taken.
    let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    ends.add(pid.as_raw().cast_unsigned());
    // What it left behind (a killed nginx's workers) goes with it.
    let _ = killpg(pid, Signal::SIGKILL);
    // Whoever waits for the end finds the last lines in the log.
    let _ = all_read.recv_timeout(Duration::from_millis(500));
    life.send_modify(|life| {
        let status = child.wait().unwrap_or_else(|_| std::os::unix::process::ExitStatusExt::from_raw(-1));
        *life = Life::Ended(status);
    });
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
