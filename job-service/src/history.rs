//! The history of a worker: its own log of effects and transitions, for those who check afterwards what happened. One
//! JSON line for each claim, handler start, effect, and write to the ledger.
//!
//! It is kept where `WORKER_HISTORY_DIR` is set, in a file of each process's own; a line is one
//! write that is in the kernel's hands before anything goes on, so a killed process loses none of
//! them. Where it is not set, nothing is done.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use shared_events::{AttemptOutcome, RunId, Status, Timestamp, WorkerId};

use crate::ledger::{Cancels, Run};

/// The folder of keyed effects, inside the histories' own.
const EFFECTS: &str = "effects";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryEvent {
    /// The ledger gave the run to this worker.
    Claimed,
    /// A claim of this worker, whose answer was lost, is recovered.
    Recovered,
    /// The handler is about to start.
    Started,
    /// The handler's effect; `first` where it is the first one under the run's key.
    Effect,
    /// The ledger took the attempt's outcome.
    Recorded,
    /// The ledger refused the attempt's outcome.
    Refused,
    /// The attempt was stopped: somebody else owns the run.
    LeaseLost,
    /// The ledger ended the run outside of any attempt: cancelled, or given up.
    Closed,
    /// A request to cancel reached the run while this attempt was under way.
    Flagged,
    /// The broker delivered the announcement again.
    Redelivered,
}

#[derive(Serialize)]
struct Line<'a> {
    at: i64,
    worker: &'a str,
    event: HistoryEvent,
    run: RunId,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<AttemptOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<bool>,
}

/// See the module. Copies share the file.
#[derive(Debug, Clone, Default)]
pub struct History(Option<Arc<HistoryFile>>);

#[derive(Debug)]
struct HistoryFile {
    lines: File,
    effects: PathBuf,
    worker: WorkerId,
}

impl History {
    /// Opens this worker's file in `folder`; without one, nothing is kept.
    ///
    /// # Errors
    /// Where the file can not be written.
    pub fn open(folder: Option<&Path>, worker: &WorkerId) -> io::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let effects = folder.join(EFFECTS);
        std::fs::create_dir_all(&effects)?;
        let path = folder.join(format!("{worker}.jsonl"));
        let lines = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Some(Arc::new(HistoryFile { lines, effects, worker: worker.clone() }))))
    }

    /// Whether anything is kept.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds an event about a run and one of its attempts.
    pub fn add(&self, event: HistoryEvent, run: RunId, attempt: u32) {
        self.write(event, run, attempt, |_| {});
    }

    /// Adds what the ledger has made of a run.
    pub fn add_state(&self, event: HistoryEvent, run: &Run) {
        self.write(event, run.id, run.attempt, |line| {
            line.status = Some(run.status);
            line.outcome = run.attempts.last().map(|attempt| attempt.outcome);
        });
    }

    /// Adds that a run was claimed or, instead, closed.
    pub fn add_claim(&self, run: &Run) {
        let event = if run.status == Status::Running { HistoryEvent::Claimed } else { HistoryEvent::Closed };
        self.add_state(event, run);
    }

    /// Adds what became of requests to cancel.
    pub fn add_cancels(&self, cancels: &Cancels) {
        cancels.closed.iter().for_each(|run| self.add_claim(run));
        cancels.stop.iter().for_each(|run| self.add(HistoryEvent::Flagged, run.id, run.attempt));
    }

    /// An effect on the outside, twice: the plain one happens whenever this is called, and the one
    /// keyed by the run only the first time.
    pub fn effect(&self, run: RunId, attempt: u32) {
        let Some(file) = &self.0 else { return };
        let keyed = OpenOptions::new().write(true).create_new(true).open(file.effects.join(run.to_string()));
        self.write(HistoryEvent::Effect, run, attempt, |line| line.first = Some(keyed.is_ok()));
    }

    fn write(&self, event: HistoryEvent, run: RunId, attempt: u32, fill: impl FnOnce(&mut Line<'_>)) {
        let Some(file) = &self.0 else { return };
        let (at, worker) = (Timestamp::now().millis(), file.worker.as_str());
        let mut line = Line { at, worker, event, run, attempt, status: None, outcome: None, first: None };
        fill(&mut line);
        let mut bytes = serde_json::to_vec(&line).expect("a line of plain values has a JSON form");
        bytes.push(b'\n');
        // Whoever checks must not be misled by a line that is missing.
        (&file.lines).write_all(&bytes).expect("the history can be written");
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn every_event_is_a_line_and_a_keyed_effect_happens_once() {
        let folder = std::env::temp_dir().join(format!("history-{}", WorkerId::generate()));
        let (worker, run) = (WorkerId::generate(), JobId::generate().run(1));
        let history = History::open(Some(&folder), &worker).unwrap();
        history.add(HistoryEvent::Started, run, 1);
        history.effect(run, 1);
        history.effect(run, 2);
        let text = std::fs::read_to_string(folder.join(format!("{worker}.jsonl"))).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first: Vec<_> = lines.iter().map(|line| line["first"].as_bool()).collect();
        assert_eq!(first, [None, Some(true), Some(false)]);
        assert!(folder.join("effects").join(run.to_string()).exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let history = History::open(None, &WorkerId::generate()).unwrap();
        history.effect(JobId::generate().run(1), 1);
        assert!(!history.is_on());
    }
}
