//! How many processes a program is, and how much memory they have.

use std::fs;

use super::{
    processes::{self, Process},
    protocol::{Exceeded, Limits},
};

/// How a program's processes were counted last.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// The youngest process of the machine then: where it still is, none was started since.
    youngest: Option<String>,
    counted: Vec<i32>,
}

impl Census {
    /// Counts the descendants of this process; says which limit they are over.
    pub(super) fn take(&mut self, own_pid: i32, limits: Limits) -> Option<Exceeded> {
        let youngest = youngest();
        let found = if youngest.is_some() && youngest == self.youngest {
            self.counted.iter().filter_map(|pid| processes::look_at(*pid)).collect()
        } else {
            processes::descendants(own_pid)
        };
        self.youngest = youngest;
        self.counted = found.iter().map(|process| process.pid).collect();
        exceeded(&found, limits, page_bytes(), &proportional_bytes)
    }
}

/// The limit that these are over. Pages that several have count once for each of them, so where there seem to be too many,
/// each one's share of them is asked for.
fn exceeded(
    found: &[Process],
    limits: Limits,
    page_bytes: u64,
    share: &dyn Fn(i32) -> Option<u64>,
) -> Option<Exceeded> {
    let alive = || found.iter().filter(|process| !process.has_ended);
    if alive().count() > usize::try_from(limits.processes).unwrap_or(usize::MAX) {
        return Some(Exceeded::Processes);
    }
    let at_most = |process: &Process| process.pages.saturating_mul(page_bytes);
    if alive().map(at_most).sum::<u64>() <= limits.memory_bytes {
        return None;
    }
    let shares = alive().map(|process| share(process.pid).unwrap_or_else(|| at_most(process)));
    (shares.sum::<u64>() > limits.memory_bytes).then_some(Exceeded::Memory)
}

/// The id that was given to a process last.
fn youngest() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().nth(4).map(str::to_owned)
}

fn page_bytes() -> u64 {
    let bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

/// The memory of a process, where of shared pages each process has its share.
fn proportional_bytes(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(kib.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { processes: 2, memory_bytes: 100, cpu_s: 1, open_files: 1 };

    fn process(pid: i32, pages: u64) -> Process {
        Process { pid, pages, has_ended: false }
    }

    #[test]
    fn those_that_have_ended_do_not_count() {
        let ended = Process { pid: 3, pages: 0, has_ended: true };
        let mut found = vec![process(1, 1), process(2, 1), ended];
        let judge = |found: &[Process]| exceeded(found, LIMITS, 1, &|_| None);
        assert_eq!(judge(&found), None);
        found.push(process(4, 1));
        assert_eq!(judge(&found), Some(Exceeded::Processes));
    }

    #[test]
    fn shared_memory_counts_once() {
        let found = [process(1, 60), process(2, 60)];
        let judge = |share: Option<u64>| exceeded(&found, LIMITS, 1, &|_| share);
        assert_eq!(judge(Some(50)), None);
        assert_eq!(judge(Some(51)), Some(Exceeded::Memory));
        assert_eq!(judge(None), Some(Exceeded::Memory));
        assert_eq!(exceeded(&found[..1], LIMITS, 1, &|_| panic!("it is not asked for")), None);
    }

    #[test]
    fn a_process_of_ones_own_is_measured() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(proportional_bytes(own).is_some_and(|bytes| bytes > 100_000));
        assert!(youngest().is_some_and(|pid| pid.parse::<i32>().is_ok()));
    }
}
