//! What came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use stack::Stack;

use super::load::Answers;
use super::slow::CutOff;
use crate::bench::usage::{GENERATOR, Snapshot};

/// Memory of each process of the stack, in MiB.
#[derive(Clone, Debug)]
pub(super) struct Memory(BTreeMap<String, u64>);

impl Memory {
    pub(super) fn of(stack: &Stack) -> Result<Self> {
        let parts = Snapshot::of(stack)?.parts;
        let parts = parts.into_iter().filter(|(name, _)| name != GENERATOR);
        Ok(Self(parts.map(|(name, usage)| (name, usage.rss_bytes >> 20)).collect()))
    }

    pub(super) fn keep_most(&mut self, other: &Self) {
        for (name, mib) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*mib);
        }
    }
}

/// See the module.
pub(super) struct Report {
    /// Jobs a second.
    pub(super) capacity: f64,
    /// At half of that, before.
    pub(super) before: Answers,
    /// The overload, in parts.
    pub(super) parts: Vec<Answers>,
    pub(super) slow: CutOff,
    /// How long after its end all was as before; none where it was not for a minute.
    pub(super) recovered_after: Option<Duration>,
    /// At half of what it can, after.
    pub(super) after: Answers,
    /// Before, the most meanwhile, and after.
    pub(super) memory: [Memory; 3],
}

impl Report {
    /// Whether all that was not accepted was told to come again, and all was well soon.
    pub(super) fn is_fine(&self) -> bool {
        let is_well = |answers: &Answers| answers.others.is_empty() && answers.without_retry_after == 0;
        self.parts.iter().all(is_well) && self.recovered_after.is_some() && self.after.is_all_accepted()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Answers) -> u64| self.parts.iter().map(of).sum::<u64>();
        let most = |of: fn(&Answers) -> f64| self.parts.iter().map(of).fold(0.0, f64::max);
        writeln!(f, "it can take        {:.0} jobs/s", self.capacity)?;
        writeln!(f, "before, at half    {}", self.before.line())?;
        writeln!(
            f,
            "overload           {} sent, {} accepted (worst p99 of ten seconds {:.0} ms, max {:.0} ms), {} refused (worst p99 {:.0} ms)",
            sum(|part| part.sent as u64),
            sum(|part| part.accepted.count),
            most(|part| part.accepted.p99),
            most(|part| part.accepted.max),
            sum(|part| part.refused.count),
            most(|part| part.refused.p99),
        )?;
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for (what, count) in self.parts.iter().flat_map(|part| &part.others) {
            *others.entry(what).or_default() += count;
        }
        let without: usize = self.parts.iter().map(|part| part.without_retry_after).sum();
        writeln!(f, "other answers      {others:?}; 503 without Retry-After: {without}")?;
        writeln!(
            f,
            "slow clients       cut off: {} that write, {} that read",
            self.slow.writers, self.slow.readers
        )?;
        match self.recovered_after {
            Some(after) => writeln!(f, "as before          {:.1} s after its end", after.as_secs_f64())?,
            None => writeln!(f, "as before          not within a minute")?,
        }
        writeln!(f, "after, at half     {}", self.after.line())?;
        let [before, most, after] = &self.memory;
        writeln!(f, "memory in MiB      before, most, after")?;
        for (name, mib) in &most.0 {
            let of = |memory: &Memory| memory.0.get(name).copied().unwrap_or(0);
            writeln!(f, "  {name:<16} {}, {mib}, {}", of(before), of(after))?;
        }
        Ok(())
    }
}
