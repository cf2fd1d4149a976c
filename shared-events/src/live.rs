//! What is told of attempts while they are made, over core NATS, where it may be lost: how far they are, and what they log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    JobId, Timestamp, WorkerId,
    job_error::{CUT, cut, encoded_len},
};

/// How far an attempt is, by its handler's own account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobProgress {
    /// From 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    pub percent: f64,
    /// In words; at most [`JobProgress::MAX_MESSAGE_BYTES`] bytes.
    pub message: String,
    /// When it said so.
    pub at: Timestamp,
}

impl JobProgress {
    /// The longest message, in bytes as JSON writes it; more is cut off.
    pub const MAX_MESSAGE_BYTES: usize = 1024;

    /// So far, within the limits.
    #[must_use]
    pub fn new(percent: f64, message: impl Into<String>, at: Timestamp) -> Self {
        // What is no number has no JSON.
        let percent = if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) };
        Self { percent, message: cut(message.into(), Self::MAX_MESSAGE_BYTES, CUT), at }
    }
}

/// How far one attempt is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptProgress {
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// Which attempt of that.
    pub attempt: u32,
    /// How far.
    pub progress: JobProgress,
}

/// On [`crate::subjects::PROGRESS`]: how far attempts of a worker are that have said so; again every few seconds. In JSON a
/// list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProgressReport(pub Vec<AttemptProgress>);

/// On [`crate::subjects::LOGS`]: what has an attempt logged? Its worker replies with a [`LogTail`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Who makes the attempt.
    pub worker: WorkerId,
    /// The job.
    pub job: JobId,
    /// Which run of it.
    pub run: u32,
    /// Which attempt of that.
    pub attempt: u32,
    /// How many lines are wanted, at most.
    pub tail: u32,
}

/// The last lines that an attempt has logged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// The latest last.
    pub lines: Vec<LogLine>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was noticed.
    pub at: Timestamp,
    /// Where it is from.
    pub from: LogSource,
    /// The line, without its end; at most [`LogLine::MAX_BYTES`] bytes.
    pub text: String,
}

impl LogLine {
    /// The longest line, in bytes as JSON writes it; more is cut off.
    pub const MAX_BYTES: usize = 4096;

    /// The last of these lines, in their order, of which JSON writes at most so many bytes. Of the very last one at least the
    /// beginning is among them.
    #[must_use]
    pub fn tail<'a>(lines: impl DoubleEndedIterator<Item = &'a Self>, most: usize) -> Vec<Self> {
        let (mut kept, mut left) = (Vec::new(), most);
        for line in lines.rev() {
            let text = if kept.is_empty() {
                cut(line.text.clone(), most.saturating_sub(Self::FRAME), CUT)
            } else {
                line.text.clone()
            };
            let Some(rest) = left.checked_sub(Self::FRAME + encoded_len(&text)) else { break };
            left = rest;
            kept.push(Self { text, ..line.clone() });
        }
        kept.reverse();
        kept
    }

    /// At most how many bytes JSON writes for lines, as the field `log` of an object.
    pub(crate) fn encoded_len(lines: &[Self]) -> usize {
        lines.iter().map(|line| Self::FRAME + encoded_len(&line.text)).sum::<usize>() + 10
    }

    /// More than JSON writes of a line besides its text.
    const FRAME: usize = 72;

    /// A line within the limits.
    #[must_use]
    pub fn new(at: Timestamp, from: LogSource, text: impl Into<String>) -> Self {
        Self { at, from, text: cut(text.into(), Self::MAX_BYTES, CUT) }
    }
}

/// Where a line of a log is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// The handler.
    Log,
    /// A program's standard output.
    Stdout,
    /// A program's standard error.
    Stderr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines_within_so_many_bytes() {
        let line = |text: &str| LogLine::new(Timestamp::from_millis(0), LogSource::Stdout, text);
        let lines: Vec<LogLine> = (0..100).map(|number| line(&format!("line {number}\n"))).collect();
        let tail = LogLine::tail(lines.iter(), 1000);
        assert!((10..14).contains(&tail.len()), "{}", tail.len());
        assert_eq!(tail, lines[100 - tail.len()..]);
        assert!(serde_json::to_string(&tail).unwrap().len() <= 1000);
        let long = [line("a"), line(&"\"".repeat(4000))];
        let tail = LogLine::tail(long.iter(), 1000);
        assert!(tail.len() == 1 && tail[0].text.ends_with(CUT), "{tail:?}");
        assert!(serde_json::to_string(&tail).unwrap().len() <= 1000);
        assert_eq!(LogLine::tail([].iter(), 1000), []);
    }

    #[test]
    fn progress_stays_within_its_range_and_a_line_within_its_length() {
        let at = Timestamp::from_millis(0);
        for (percent, shown) in
            [(-1.0, 0.0), (120.0, 100.0), (f64::NAN, 0.0), (f64::INFINITY, 100.0), (1.5, 1.5)]
        {
            assert_eq!(JobProgress::new(percent, "", at).percent, shown);
        }
        assert!(JobProgress::new(0.0, "x".repeat(2000), at).message.ends_with(CUT));
        let line = LogLine::new(at, LogSource::Log, "\u{1}".repeat(9000));
        assert!(serde_json::to_string(&line.text).unwrap().len() <= LogLine::MAX_BYTES + 2);
    }
}
