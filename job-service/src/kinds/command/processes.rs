//! The processes of this machine, as `/proc` tells of them.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process that is one of a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// The memory that it has, in pages; a process that has ended and waits to be noticed has none.
    pub(super) pages: u64,
    pub(super) has_ended: bool,
}

/// The ids of all processes.
pub(super) fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Those that this one has started, and those that they have, and so on.
pub(super) fn descendants(of: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for pid in all() {
        if let Some((parent, process)) = stat(pid) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![of];
    // A process may have moved while it was looked at.
    let mut seen = HashSet::from([of]);
    while let Some(parent) = next.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            if seen.insert(process.pid) {
                next.push(process.pid);
                found.push(process);
            }
        }
    }
    found
}

/// One process.
pub(super) fn look_at(pid: i32) -> Option<Process> {
    stat(pid).map(|(_, process)| process)
}

/// A process and its parent.
fn stat(pid: i32) -> Option<(i32, Process)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &String::from_utf8_lossy(&text))
}

/// proc_pid_stat(5): the name is in brackets and may have any characters; after it come state (3) and parent (4), and the
/// resident set (24).
fn parse_stat(pid: i32, text: &str) -> Option<(i32, Process)> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    let parent = fields.get(1)?.parse().ok()?;
    Some((parent, Process { pid, pages: fields.get(21)?.parse().ok()?, has_ended }))
}

/// When the process was started, in ticks since the machine was; together with its id it names one process for ever.
/// None where it has ended, noticed or not.
pub(super) fn started_at(pid: i32) -> Option<u64> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    if parse_stat(pid, &text)?.1.has_ended {
        return None;
    }
    // Field 22.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The value of a variable in the environment that the process was started with.
pub(super) fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

/// How many processes and threads this user has, who may have many on a machine.
pub(super) fn tasks_of_user(uid: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = all().filter(|pid| fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() == uid));
    own.map(|pid| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count() as u64)).sum()
}

/// Sends a signal; a process that is gone needs none.
pub(super) fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_anything() {
        let text =
            "7 (a) S 1 (b) Z 3 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 99 1000 42 18446744073709551615";
        assert_eq!(parse_stat(7, text), Some((3, Process { pid: 7, pages: 42, has_ended: true })));
        assert_eq!(parse_stat(7, "7 (a"), None);
    }

    #[test]
    fn a_child_is_found_by_its_parent_and_its_environment() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").env("WHO", "me").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descendants(own).iter().any(|process| process.pid == pid && !process.has_ended));
        assert_eq!(variable(pid, "WHO").as_deref(), Some("me"));
        assert_eq!(variable(pid, "W"), None);
        assert!(started_at(pid) >= started_at(own) && started_at(own).is_some());
        signal(pid, Signal::SIGKILL);
        while stat(pid).is_some_and(|(_, process)| !process.has_ended) {
            std::thread::yield_now();
        }
        assert_eq!(started_at(pid), None, "it has ended, though nobody has noticed yet");
        child.wait().unwrap();
        assert!(descendants(own).iter().all(|process| process.pid != pid));
    }
}
