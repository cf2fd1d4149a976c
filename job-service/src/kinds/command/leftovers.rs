//! What an earlier supervisor on this machine may have left, should it have been killed itself: its processes have its
//! name in their environments, and it is gone.
//!
//! Programs die with their supervisor (`PR_SET_PDEATHSIG`); what they have started is found here.

use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use tracing::warn;

use super::processes;

/// The variable that has the supervisor's name.
pub(super) const SUPERVISOR: &str = "HASTY_SUPERVISOR";

/// The name of this process: its id, when it was started, since ids are used again, and the namespace in which it has that id,
/// since processes of a container can be seen from outside.
pub(super) fn own_name() -> String {
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    format!("{pid}:{}:{}", processes::started_at(pid).unwrap_or(0), namespace())
}

/// The namespace of this process's id; 0 where that is not known.
fn namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// Whether a supervisor of this name was here, and is gone. Those of other namespaces can not be looked up from here.
fn is_gone(name: &str) -> bool {
    let mut parts = name.split(':').map(|part| part.parse::<u64>().ok());
    let (Some(Some(pid)), Some(Some(started)), Some(Some(within))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let pid = i32::try_from(pid).unwrap_or(0);
    within == namespace() && processes::started_at(pid) != Some(started)
}

/// The processes of supervisors that are gone.
fn find() -> Vec<i32> {
    let orphan = |pid: &i32| processes::variable(*pid, SUPERVISOR).is_some_and(|name| is_gone(&name));
    processes::all().filter(orphan).collect()
}

/// Kills what supervisors that are gone have left; says how many processes that were.
pub(super) fn stop() -> usize {
    let mut stopped = 0;
    // What they start meanwhile is found by the next look.
    for _ in 0..100 {
        let found = find();
        if found.is_empty() {
            break;
        }
        stopped += found.len();
        found.iter().for_each(|pid| processes::signal(*pid, Signal::SIGSTOP));
        found.iter().for_each(|pid| processes::signal(*pid, Signal::SIGKILL));
    }
    if stopped > 0 {
        warn!(processes = stopped, "stopped what was left of commands whose supervisor is gone");
    }
    stopped
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    #[test]
    fn what_has_no_supervisor_any_more_is_stopped_and_nothing_else() {
        let start = |name: &str| Command::new("sleep").arg("60").env(SUPERVISOR, name).spawn().unwrap();
        let (mut kept, mut left) = (start(&own_name()), start(&format!("1:0:{}", namespace())));
        // One in a container, seen from outside.
        let mut elsewhere = start("1:0:1");
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(stop() >= 1);
        assert_eq!(left.wait().unwrap().signal(), Some(9));
        for child in [&mut kept, &mut elsewhere, &mut other] {
            assert!(child.try_wait().unwrap().is_none(), "{child:?}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
