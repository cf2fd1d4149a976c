//! What attempts say while they are made: how far they are, and lines of a log. It is kept here, in memory, until their ends
//! are recorded, and with these the last lines; [`tell`] brings it to the api-service meanwhile.
//!
//! An attempt that says nothing costs nothing here.

pub mod tell;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use shared_events::{
    AttemptSummary, JobProgress, RunId, Timestamp,
    live::{AttemptProgress, LogLine, LogSource},
};
use tokio::sync::Notify;

/// The most lines that are kept of an attempt.
const LINES: usize = 1000;

/// The most bytes of them.
const BYTES: usize = 64 << 10;

/// The attempts that have said something. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct LiveAttempts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    said: Mutex<HashMap<RunId, Weak<Said>>>,
    /// Somebody has told how far it is.
    progress: Notify,
}

/// What one attempt has said.
#[derive(Debug)]
pub(crate) struct Said {
    run: RunId,
    attempt: u32,
    among: LiveAttempts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_listed: bool,
    progress: Option<JobProgress>,
    is_told: bool,
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl LiveAttempts {
    /// An attempt that has said nothing yet.
    pub(crate) fn attempt(&self, run: RunId, attempt: u32) -> Arc<Said> {
        Arc::new(Said { run, attempt, among: self.clone(), state: Mutex::default() })
    }

    /// The last lines of an attempt, at most so many; none where it is not made here, or has logged nothing.
    #[must_use]
    pub fn tail(&self, run: RunId, attempt: u32, most: usize) -> Vec<LogLine> {
        let said = self.listed().get(&run).and_then(Weak::upgrade);
        let Some(said) = said.filter(|said| said.attempt == attempt) else { return Vec::new() };
        let state = said.state();
        state.lines.iter().skip(state.lines.len().saturating_sub(most)).cloned().collect()
    }

    /// How far attempts are: of those that were not told, or of all that have said so.
    fn progress(&self, of_all: bool) -> Vec<AttemptProgress> {
        let said: Vec<Arc<Said>> = {
            let mut listed = self.listed();
            listed.retain(|_, said| said.strong_count() > 0);
            listed.values().filter_map(Weak::upgrade).collect()
        };
        said.iter().filter_map(|said| said.progress_to_tell(of_all)).collect()
    }

    fn listed(&self) -> MutexGuard<'_, HashMap<RunId, Weak<Said>>> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// How far the attempt is.
    pub(crate) fn progress(self: &Arc<Self>, progress: JobProgress) {
        self.list();
        let mut state = self.state();
        (state.progress, state.is_told) = (Some(progress), false);
        drop(state);
        self.among.0.progress.notify_one();
    }

    /// What it has said last of how far it is.
    pub(crate) fn latest_progress(&self) -> Option<JobProgress> {
        self.state().progress.clone()
    }

    /// Keeps a line, and forgets the earliest where there are too many.
    pub(crate) fn log(self: &Arc<Self>, from: LogSource, text: &str) {
        self.list();
        let line = LogLine::new(Timestamp::now(), from, text);
        let mut state = self.state();
        state.bytes += line.text.len();
        state.lines.push_back(line);
        while state.lines.len() > LINES || state.bytes > BYTES {
            let Some(earliest) = state.lines.pop_front() else { break };
            state.bytes -= earliest.text.len();
        }
    }

    /// What its handler has logged last, to be kept with its end. What a program wrote is in its output.
    pub(crate) fn last_lines(&self) -> Vec<LogLine> {
        let state = self.state();
        let own = state.lines.iter().filter(|line| line.from == LogSource::Log);
        LogLine::tail(own, AttemptSummary::MAX_LOG_BYTES)
    }

    fn list(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.state().is_listed, true) {
            self.among.listed().insert(self.run, Arc::downgrade(self));
        }
    }

    fn progress_to_tell(&self, whatever: bool) -> Option<AttemptProgress> {
        let mut state = self.state();
        let was_told = std::mem::replace(&mut state.is_told, true);
        let progress = state.progress.clone().filter(|_| whatever || !was_told)?;
        Some(AttemptProgress { job: self.run.job, run: self.run.run, attempt: self.attempt, progress })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        if self.state().is_listed {
            let mut listed = self.among.listed();
            // A later attempt of the run may be listed by now.
            if listed.get(&self.run).is_some_and(|said| said.strong_count() == 0) {
                listed.remove(&self.run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    fn progress(percent: f64) -> JobProgress {
        JobProgress::new(percent, "", Timestamp::from_millis(0))
    }

    #[test]
    fn an_attempt_that_says_nothing_is_not_listed_and_one_that_is_over_no_more() {
        let (live, run) = (LiveAttempts::default(), JobId::generate().run(1));
        let said = live.attempt(run, 1);
        assert!(live.listed().is_empty());
        said.log(LogSource::Log, "a");
        assert_eq!(live.listed().len(), 1);
        let next = live.attempt(run, 2);
        next.log(LogSource::Log, "b");
        drop(said);
        assert_eq!(live.tail(run, 2, 9)[0].text, "b");
        assert_eq!(live.tail(run, 1, 9), []);
        drop(next);
        assert!(live.listed().is_empty());
    }

    #[test]
    fn the_last_lines_are_kept_within_lines_and_bytes() {
        let (live, run) = (LiveAttempts::default(), JobId::generate().run(1));
        let said = live.attempt(run, 1);
        for number in 0..2 * LINES {
            said.log(LogSource::Stdout, &number.to_string());
        }
        let texts = |most| live.tail(run, 1, most).into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(2), ["1998", "1999"]);
        assert_eq!(texts(5000).len(), LINES);
        for _ in 0..100 {
            said.log(LogSource::Stderr, &"x".repeat(4000));
        }
        assert_eq!(texts(5000).len(), BYTES / 4000);
    }

    #[test]
    fn of_all_that_was_logged_the_handlers_last_lines_go_with_the_end() {
        let said = LiveAttempts::default().attempt(JobId::generate().run(1), 1);
        assert_eq!(said.last_lines(), []);
        for number in 0..LINES {
            said.log(LogSource::Log, &number.to_string());
            said.log(LogSource::Stdout, "a program's");
        }
        let lines = said.last_lines();
        assert!(lines.len() > 40 && lines.iter().all(|line| line.from == LogSource::Log), "{}", lines.len());
        assert_eq!(lines.last().map(|line| line.text.clone()), Some((LINES - 1).to_string()));
    }

    #[test]
    fn progress_is_told_once_unless_all_is_to_be_told() {
        let live = LiveAttempts::default();
        let (one, two) =
            (live.attempt(JobId::generate().run(1), 1), live.attempt(JobId::generate().run(1), 1));
        one.progress(progress(1.0));
        two.log(LogSource::Log, "has none");
        assert_eq!(live.progress(false).len(), 1);
        assert_eq!(live.progress(false), []);
        assert_eq!(live.progress(true).len(), 1);
        one.progress(progress(2.0));
        assert_eq!(live.progress(false)[0].progress.percent, 2.0);
        assert_eq!(one.latest_progress().unwrap().percent, 2.0);
    }
}
