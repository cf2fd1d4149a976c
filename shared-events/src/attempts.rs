//! The attempts of a run, as events and documents tell of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    JobError, JsonText, ProgramOutput, Timestamp, WorkerId,
    job_error::{CUT, cut, encoded_len},
    live::LogLine,
};

/// One attempt that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// The claim's number.
    pub attempt: u32,
    /// Who claimed it.
    pub worker: WorkerId,
    /// When.
    pub started_at: Timestamp,
    /// When it ended; of a lost lease, when that was noticed.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Whether it counts towards `max_attempts`.
    pub charged: bool,
    /// What went wrong, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// What its handler gave all the same, in short. The latest attempt's is kept whole beside the attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<ShortOutput>,
    /// What its handler logged last, in at most [`AttemptSummary::MAX_LOG_BYTES`] bytes of JSON; events have the latest attempt's
    /// alone. What a program wrote is in its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

impl AttemptSummary {
    /// The longest log.
    pub const MAX_LOG_BYTES: usize = 4096;

    /// At most how many bytes JSON writes for its log, with the field's name.
    #[must_use]
    pub fn log_len(&self) -> usize {
        if self.log.is_empty() { 0 } else { LogLine::encoded_len(&self.log) }
    }
}

/// An attempt's output, of which JSON writes at most [`ShortOutput::MAX_BYTES`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShortOutput {
    /// What a program gave, with the ends of what it wrote.
    Program(ProgramOutput),
    /// The JSON of any other, or its beginning.
    Json(String),
}

impl ShortOutput {
    /// The longest, in bytes as JSON writes it.
    pub const MAX_BYTES: usize = 4096;

    /// An output in short.
    #[must_use]
    pub fn of(output: &JsonText) -> Self {
        match serde_json::from_str::<ProgramOutput>(output.as_str()) {
            Ok(program) => Self::Program(program.within(Self::MAX_BYTES)),
            // Two bytes are its quotes.
            Err(_) => Self::Json(cut(output.as_str().to_owned(), Self::MAX_BYTES - 2, CUT)),
        }
    }

    /// How many bytes JSON writes for it.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Program(program) => program.encoded_len(),
            Self::Json(text) => encoded_len(text) + 2,
        }
    }
}

/// Leaves out the latest attempt's log where JSON needs more than `room` bytes for it, and the outputs of the earliest attempts
/// until it needs no more than that for all.
pub(crate) fn fit(attempts: &mut [AttemptSummary], room: usize) {
    /// What JSON writes besides the value: `,"output":`.
    const FIELD: usize = 10;
    let mut room = room;
    if let Some(latest) = attempts.last_mut() {
        match room.checked_sub(latest.log_len()) {
            Some(rest) => room = rest,
            None => latest.log.clear(),
        }
    }
    let mut left = Some(room);
    for attempt in attempts.iter_mut().rev() {
        let Some(output) = &attempt.output else { continue };
        left = left.and_then(|left| left.checked_sub(output.encoded_len() + FIELD));
        if left.is_none() {
            attempt.output = None;
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The handler said done.
    Finished,
    /// The handler failed, panicked, or is not known here.
    Failed,
    /// It was stopped: asked for, or over its time.
    Cancelled,
    /// The worker gave it back: it was shutting down.
    Released,
    /// The worker let its lease run out.
    Lost,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Captured, JobEnded, JobEvent, JobId, JobRetrying, MAX_EVENT_BYTES, Status, json_text::MAX_JSON_BYTES,
        live::LogSource,
    };

    fn captured(bytes: &[u8]) -> Captured {
        let last = &bytes[bytes.len().saturating_sub(Captured::MAX_BYTES)..];
        Captured::new(last, bytes.len() as u64)
    }

    fn whole(stdout: &[u8], stderr: &[u8]) -> JsonText {
        let (stdout, stderr) = (captured(stdout), captured(stderr));
        JsonText::of(&ProgramOutput { exit_code: Some(1), signal: None, stdout, stderr, duration_ms: 1 })
            .unwrap()
    }

    fn attempt(attempt: u32, output: &ShortOutput, error: &str) -> AttemptSummary {
        AttemptSummary {
            attempt,
            worker: WorkerId::from(format!("{}-4194304-deadbeef", "h".repeat(64))),
            started_at: Timestamp::from_millis(0),
            ended_at: Timestamp::from_millis(0),
            outcome: AttemptOutcome::Failed,
            charged: true,
            error: Some(JobError::new("exit_code", error)),
            output: Some(output.clone()),
            log: Vec::new(),
        }
    }

    fn written(output: &ShortOutput) -> usize {
        serde_json::to_string(output).unwrap().len()
    }

    #[test]
    fn what_is_no_programs_output_is_cut_as_a_text() {
        let long = JsonText::of(&format!("\"{}", "x".repeat(9000))).unwrap();
        let short = ShortOutput::of(&long);
        let ShortOutput::Json(text) = &short else { panic!("{short:?}") };
        assert!(text.starts_with("\"\\\"xx") && text.ends_with(CUT), "{text}");
        assert!(written(&short) <= ShortOutput::MAX_BYTES);
        let small = JsonText::of(&[1, 2]).unwrap();
        assert_eq!(ShortOutput::of(&small), ShortOutput::Json("[1,2]".to_owned()));
    }

    #[test]
    fn an_event_tells_the_latest_attempts_log_where_there_is_room() {
        let line = LogLine::new(Timestamp::from_millis(0), LogSource::Log, "x".repeat(4000));
        let log = LogLine::tail([line].iter(), AttemptSummary::MAX_LOG_BYTES);
        let output = ShortOutput::Json("x".repeat(1000));
        let attempts: Vec<_> = (1..=100)
            .map(|number| AttemptSummary { log: log.clone(), ..attempt(number, &output, "") })
            .collect();
        let retrying = |output: Option<JsonText>, attempts: &[AttemptSummary]| {
            let (next_at, attempts) = (Timestamp::from_millis(0), attempts.to_vec());
            let (job, run, attempt) = (JobId::generate(), 1, 100);
            JobEvent::Retrying(JobRetrying { job, run, attempt, next_at, output, attempts }).within_limits()
        };
        let JobEvent::Retrying(told) = retrying(None, &attempts) else { panic!() };
        assert!(told.attempts[..99].iter().all(|attempt| attempt.log.is_empty() && attempt.output.is_some()));
        assert_eq!(told.attempts[99].log, log);
        // A result that leaves no room at all is none that a handler may give.
        let JobEvent::Retrying(told) = retrying(JsonText::of(&"x".repeat(MAX_EVENT_BYTES)).ok(), &attempts)
        else {
            panic!()
        };
        assert!(told.attempts.iter().all(|attempt| attempt.log.is_empty() && attempt.output.is_none()));
    }

    #[test]
    fn where_there_is_no_room_the_earliest_do_without() {
        let output = ShortOutput::Json("x".repeat(1000));
        let attempts: Vec<_> =
            (1..=100).map(|number| attempt(number, &output, &"\u{1}".repeat(5000))).collect();
        let result = JsonText::of(&"x".repeat(MAX_JSON_BYTES - 2)).ok();
        let (job, started_at) = (JobId::generate(), Some(Timestamp::from_millis(0)));
        let (ended_at, error) =
            (Timestamp::from_millis(0), Some(JobError::new("exit_code", "x".repeat(5000))));
        let (run, attempt) = (1, 100);
        let ended =
            JobEnded { job, run, attempt, started_at, ended_at, result, error, reason: None, attempts };
        let event = JobEvent::Ended(Status::Failed, ended).within_limits();
        assert!(event.encode(ended_at, None).unwrap().len() <= MAX_EVENT_BYTES);
        let JobEvent::Ended(_, ended) = event else { panic!() };
        let first = ended.attempts.iter().position(|attempt| attempt.output.is_some()).unwrap();
        assert!(first > 0 && ended.attempts[first..].iter().all(|attempt| attempt.output.is_some()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// An event and a document of a hundred programs that failed, whatever they wrote: nothing is left out.
        #[test]
        fn a_hundred_programs_that_failed_fit(
            some in proptest::collection::vec(prop_oneof![any::<u8>(), 0_u8..32, Just(b'\\')], 1..100),
            message in "[\\x00-\\x7f]{0,200}",
        ) {
            let bytes = some.repeat(1 + 70_000 / some.len());
            let output = whole(&bytes, &bytes);
            prop_assert!(output.as_str().len() <= 2 * Captured::MAX_BYTES + 512);
            let short = ShortOutput::of(&output);
            prop_assert!(written(&short) <= short.encoded_len() && short.encoded_len() <= ShortOutput::MAX_BYTES);
            let attempts: Vec<_> = (1..=100).map(|number| attempt(number, &short, &message)).collect();
            let (next_at, output) = (Timestamp::from_millis(0), Some(output));
            let event = JobEvent::Retrying(JobRetrying {
                job: JobId::generate(), run: 1, attempt: 100, next_at, output, attempts,
            });
            let told = event.clone().within_limits();
            prop_assert_eq!(&told, &event);
            let bytes = told.encode(next_at, None).unwrap();
            prop_assert!(bytes.len() <= MAX_EVENT_BYTES, "{}", bytes.len());
            prop_assert_eq!(&JobEvent::decode(&bytes).unwrap().data, &event);
        }
    }
}
