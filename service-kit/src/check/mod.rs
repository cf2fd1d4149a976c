//! Whether all that a service needs is there and as it should be: for use before an upgrade, and when something is wrong.
//! Nothing is changed but one document, which is removed again.

mod mongo;
mod nats;
mod rights;

use std::{fmt, io::Write};

use serde::Serialize;

pub use mongo::check_mongo;
pub use nats::{Expected, check_nats};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth to know; the service works with it.
    Warning,
    /// The service does not work, or not for long.
    Error,
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
}

/// All that was found, in the order in which it was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings {
    /// See there.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// Adds one that is as it should be.
    pub fn ok(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.add(Level::Ok, what, found);
    }

    /// Adds one that is worth to know.
    pub fn warning(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.add(Level::Warning, what, found);
    }

    /// Adds one with which the service does not work.
    pub fn error(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.add(Level::Error, what, found);
    }

    fn add(&mut self, level: Level, what: impl Into<String>, found: impl Into<String>) {
        self.findings.push(Finding { level, what: what.into(), found: found.into() });
    }

    /// These, then those.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.findings.extend(others.findings);
        self
    }

    /// The worst of them.
    #[must_use]
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    /// Prints them to standard output: a line each, or as JSON.
    ///
    /// # Errors
    /// Where nobody reads it, or one of them is an error: how many.
    pub fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let text = if as_json { serde_json::to_string_pretty(self)? + "\n" } else { self.to_string() };
        std::io::stdout().write_all(text.as_bytes())?;
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error).count();
        anyhow::ensure!(errors == 0, "{errors} of {} checks failed", self.findings.len());
        Ok(())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
        for Finding { level, what, found } in &self.findings {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "ERROR",
            };
            writeln!(f, "{level:7}  {what:width$}  {found}")?;
        }
        Ok(())
    }
}

/// A number of bytes as people read it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut rest, mut unit) = (count, 0);
    while rest >= 10 << 10 && unit + 1 < UNITS.len() {
        (rest, unit) = (rest >> 10, unit + 1);
    }
    format!("{rest} {}", UNITS[unit])
}

/// Whether a dotted version is that one or a later one.
fn is_at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let is = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    is >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_lines_and_the_worst_counts() {
        let mut findings = Findings::default();
        assert_eq!(findings.worst(), Level::Ok);
        findings.ok("a", "fine");
        findings.warning("longer", "odd");
        assert_eq!(findings.worst(), Level::Warning);
        let more = findings.clone().and({
            let mut more = Findings::default();
            more.error("b", "gone");
            more
        });
        assert_eq!(more.worst(), Level::Error);
        assert_eq!(more.to_string(), "ok       a       fine\nwarning  longer  odd\nERROR    b       gone\n");
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, is) in [("6.0.5", true), ("10.2", true), ("5.9.9", false), ("6", true), ("x", false)] {
            assert_eq!(is_at_least(version, (6, 0)), is, "{version}");
        }
        assert!(is_at_least("2.15.1-beta", (2, 10)) && !is_at_least("2.9.25", (2, 10)));
    }

    #[test]
    fn bytes_are_shown_in_units() {
        assert_eq!([0, 10_239, 10_240, 5 << 30].map(bytes), ["0 B", "10239 B", "10 KiB", "5120 MiB"]);
    }
}
