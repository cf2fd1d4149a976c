//! The one thread that forks.
//!
//! A child asks the kernel for a signal at its parent's death, so that nothing outlives the stack, even when
//! the stack is killed with SIGKILL. The kernel takes "parent" to mean the *thread* that forked: a child that
//! was started from a test's thread or a runtime's worker would die with that thread. So all forks happen in
//! one thread that lives as long as the process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{LazyLock, mpsc};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{Pid, getppid};

struct Request {
    command: Command,
    answer: mpsc::SyncSender<io::Result<Child>>,
}

static SPAWNER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel::<Request>();
    thread::Builder::new()
        .name("spawner".into())
        .spawn(move || {
            for Request { mut command, answer } in inbox {
                let child = command.spawn();
                // The command holds our copy of the pipe's writing end; with it open the reader sees no end.
                drop(command);
                let _ = answer.send(child);
            }
        })
        .expect("a thread can be started");
    requests
});

/// Starts `command` in a process group of its own; it gets `at_parents_death` when this process dies.
pub(super) fn spawn(mut command: Command, at_parents_death: Signal) -> io::Result<Child> {
    let parent = Pid::this();
    let (_, most_files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(at_parents_death)?;
        if getppid() != parent {
            // It died before the line above took effect: that signal will not come.
            return Err(io::ErrorKind::NotConnected.into());
        }
        setrlimit(Resource::RLIMIT_NOFILE, most_files, most_files)?;
        // A write over a limit that a test sets later is to fail, as on a full disk, and not to kill.
        // SAFETY: ignoring a signal installs no handler, and is async-signal-safe.
        #[allow(unsafe_code)]
        unsafe {
            nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn)?;
        }
        Ok(())
    };
    // A group of its own: Ctrl-C in the terminal reaches only us, and we stop the children in order.
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe system calls are made (prctl, getppid, setrlimit),
    // nothing is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
    let (answer, child) = mpsc::sync_channel(1);
    SPAWNER.send(Request { command, answer }).map_err(|_| io::Error::other("the spawner thread ended"))?;
    child.recv().map_err(|_| io::Error::other("the spawner thread ended"))?
}
