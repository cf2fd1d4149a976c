//! What the processes cost: CPU time and memory, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};
use stack::Stack;

/// This process, in reports.
pub(crate) const GENERATOR: &str = "load generator";

/// CPU time used so far, and memory used now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
}

/// The usage of each part, and the machine's.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) parts: BTreeMap<String, Usage>,
    machine: Machine,
}

/// CPU time that the machine has spent on all processes, and what a hypervisor took.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    busy: Duration,
    all: Duration,
}

/// What one process's `stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    group: u32,
    ticks: u64,
    rss_pages: u64,
}

impl Snapshot {
    /// Each process leads a group, in which are those that it has started (nginx's workers, attempts).
    pub(crate) fn of(stack: &Stack) -> Result<Self> {
        let (tick, page) = (tick(), page());
        let mut groups: BTreeMap<u32, Usage> = BTreeMap::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            // One that ends meanwhile has no `stat` any more.
            let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some(stat) = parse_stat(&text) else { continue };
            let usage = groups.entry(stat.group).or_default();
            usage.cpu += tick.mul_f64(stat.ticks as f64);
            usage.rss_bytes += stat.rss_pages * page;
        }
        let of_group = |pid: u32| groups.get(&pid).copied().unwrap_or_default();
        let nodes = stack.nodes().filter_map(|node| Some((node.name().to_owned(), of_group(node.pid()?))));
        let mut parts: BTreeMap<String, Usage> = nodes.collect();
        let own =
            parse_stat(&fs::read_to_string("/proc/self/stat")?).context("/proc/self/stat is not readable")?;
        let own = Usage { cpu: tick.mul_f64(own.ticks as f64), rss_bytes: own.rss_pages * page };
        parts.insert(GENERATOR.into(), own);
        Ok(Self { parts, machine: machine(&fs::read_to_string("/proc/stat")?, tick) })
    }

    /// CPU time that each part has used since `earlier`.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> BTreeMap<String, Duration> {
        let since = |name: &str, usage: &Usage| {
            let before = earlier.parts.get(name).copied().unwrap_or_default();
            usage.cpu.saturating_sub(before.cpu)
        };
        self.parts.iter().map(|(name, usage)| (name.clone(), since(name, usage))).collect()
    }

    /// Which share of the machine others have used since `earlier`, from 0 to 1.
    pub(crate) fn others_share_since(&self, earlier: &Self) -> f64 {
        let busy = self.machine.busy.saturating_sub(earlier.machine.busy);
        let all = self.machine.all.saturating_sub(earlier.machine.all);
        let ours: Duration = self.cpu_since(earlier).values().sum();
        busy.saturating_sub(ours).as_secs_f64() / all.as_secs_f64().max(f64::EPSILON)
    }
}

/// The process's group, CPU time (with that of its ended children) and memory.
fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in brackets and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Stat { group: fields.get(2)?.parse().ok()?, ticks, rss_pages: number(21)? })
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
fn machine(text: &str, tick: Duration) -> Machine {
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Machine { busy: tick.mul_f64(all - idle), all: tick.mul_f64(all) }
}

fn tick() -> Duration {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(1.0 / per_second as f64)
}

fn page() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| bytes.try_into().ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "12 (nginx: a) worker) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 5 1 20 0 1 0 100 9000000 512 18446744 1 1";
        assert_eq!(parse_stat(text), Some(Stat { group: 7, ticks: 48, rss_pages: 512 }));
        assert_eq!(parse_stat("12 (gone"), None);
    }

    #[test]
    fn idle_time_is_not_busy_time() {
        let machine = machine("cpu  10 0 20 60 5 1 2 2 0 0\ncpu0 1", Duration::from_millis(10));
        assert_eq!(machine.all, Duration::from_secs(1));
        assert_eq!(machine.busy, Duration::from_millis(350));
    }
}
