//! The worker's own log of effects and transitions, for those who check afterwards what happened: one
//! JSON line for each claim, handler start, effect, and write to the ledger.
//!
//! It is kept where `WORKER_CHRONICLE_DIR` is set, in a file of each process's own; a line is one
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

use crate::ledger::Run;

/// The folder of keyed effects, inside the chronicles' own.
const EFFECTS: &str = "effects";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// The ledger gave the run to this worker.
    Claimed,
    /// A claim of this worker, whose answer was lost, is taken up after all.
    Resumed,
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
    /// A wish to cancel reached the run while this attempt was under way.
    Flagged,
    /// The broker delivered the announcement again.
    Redelivered,
}

#[derive(Serialize)]
struct Line<'a> {
    at: i64,
    worker: &'a str,
    deed: Deed,
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
pub struct Chronicle(Option<Arc<Book>>);

#[derive(Debug)]
struct Book {
    file: File,
    effects: PathBuf,
    worker: WorkerId,
}

impl Chronicle {
    /// Opens this worker's file in `folder`; without one, nothing is kept.
    ///
    /// # Errors
    /// Where the file can not be written.
    pub fn open(folder: Option<&Path>, worker: &WorkerId) -> io::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let effects = folder.join(EFFECTS);
        std::fs::create_dir_all(&effects)?;
        let path = folder.join(format!("{worker}.jsonl"));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Some(Arc::new(Book { file, effects, worker: worker.clone() }))))
    }

    /// Whether anything is kept.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a deed about a run and one of its attempts.
    pub fn note(&self, deed: Deed, run: RunId, attempt: u32) {
        self.write(deed, run, attempt, |_| {});
    }

    /// Notes what the ledger has made of a run.
    pub fn note_state(&self, deed: Deed, run: &Run) {
        self.write(deed, run.id, run.attempt, |line| {
            line.status = Some(run.status);
            line.outcome = run.attempts.last().map(|attempt| attempt.outcome);
        });
    }

    /// Notes a run that was claimed or, instead, closed.
    pub fn note_claim(&self, run: &Run) {
        let deed = if run.status == Status::Running { Deed::Claimed } else { Deed::Closed };
        self.note_state(deed, run);
    }

    /// An effect on the outside, twice: the plain one happens whenever this is called, and the one
    /// keyed by the run only the first time.
    pub fn effect(&self, run: RunId, attempt: u32) {
        let Some(book) = &self.0 else { return };
        let keyed = OpenOptions::new().write(true).create_new(true).open(book.effects.join(run.to_string()));
        self.write(Deed::Effect, run, attempt, |line| line.first = Some(keyed.is_ok()));
    }

    fn write(&self, deed: Deed, run: RunId, attempt: u32, fill: impl FnOnce(&mut Line<'_>)) {
        let Some(book) = &self.0 else { return };
        let (at, worker) = (Timestamp::now().millis(), book.worker.as_str());
        let mut line = Line { at, worker, deed, run, attempt, status: None, outcome: None, first: None };
        fill(&mut line);
        let mut bytes = serde_json::to_vec(&line).expect("a line of plain values has a JSON form");
        bytes.push(b'\n');
        // Whoever checks must not be misled by a line that is missing.
        (&book.file).write_all(&bytes).expect("the chronicle can be written");
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn every_deed_is_a_line_and_a_keyed_effect_happens_once() {
        let folder = std::env::temp_dir().join(format!("chronicle-{}", WorkerId::generate()));
        let (worker, run) = (WorkerId::generate(), JobId::generate().run(1));
        let chronicle = Chronicle::open(Some(&folder), &worker).unwrap();
        chronicle.note(Deed::Started, run, 1);
        chronicle.effect(run, 1);
        chronicle.effect(run, 2);
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
        let chronicle = Chronicle::open(None, &WorkerId::generate()).unwrap();
        chronicle.effect(JobId::generate().run(1), 1);
        assert!(!chronicle.is_on());
    }
}
