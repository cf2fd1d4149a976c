//! How an attempt ends: pure decisions, with the time and the jitter handed in.

use std::{any::Any, time::Duration};

use bson::DateTime;
use service_kit::clock::millis;
use shared_events::{CancelReason, JobError, JsonText};

use super::active_runs::StopReason;
use crate::{
    kinds::HandlerResult,
    ledger::{AttemptEnd, Run},
};

/// What a handler's panic carries.
pub(crate) type Panic = Box<dyn Any + Send>;

/// Why an attempt is over.
#[derive(Debug)]
pub(crate) enum StopCause {
    /// The handler returned this, or panicked.
    Returned(Result<HandlerResult, Panic>),
    /// This worker has no handler for its kind.
    UnknownKind,
    /// It was over its time; what its handler returned by the end of its grace, if it did.
    OutOfTime(Option<HandlerResult>),
    /// It was told to stop; what its handler returned by the end of its grace, if it did.
    Stopped(StopReason, Option<HandlerResult>),
}

/// When failed attempts are tried again, and runs of unknown kinds looked at again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// The first pause, at most; doubles with each failure.
    pub(crate) base: Duration,
    /// The longest pause.
    pub(crate) max: Duration,
    /// How long a run waits for a worker that has a handler for its kind.
    pub(crate) unknown_kind_wait: Duration,
}

/// The shortest and the longest pause of a run of an unknown kind.
const UNKNOWN_KIND_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How the attempt ends; none where somebody else owns the run, who decides. `jitter` is from 0 to 1.
pub(crate) fn attempt_end(
    run: &Run,
    cause: StopCause,
    now: DateTime,
    policy: RetryPolicy,
    jitter: f64,
) -> Option<AttemptEnd> {
    let later = |pause: Duration| DateTime::from_millis(now.timestamp_millis() + millis(pause));
    let returned = match cause {
        StopCause::Stopped(StopReason::Superseded, _) => return None,
        StopCause::Stopped(StopReason::Requested, returned) => {
            return Some(AttemptEnd::Cancelled(CancelReason::Requested, output(returned)));
        }
        StopCause::OutOfTime(returned) => {
            return Some(AttemptEnd::Cancelled(CancelReason::Timeout, output(returned)));
        }
        StopCause::Stopped(
            StopReason::Shutdown,
            None | Some(HandlerResult::Stopped(_) | HandlerResult::NotNow(_)),
        ) => {
            return Some(AttemptEnd::Released);
        }
        // What it has done within its grace is done.
        StopCause::Stopped(StopReason::Shutdown, Some(returned)) => Ok(returned),
        StopCause::UnknownKind => {
            let message = format!("no worker that took it has a handler for {}", run.kind);
            return Some(not_here(run, JobError::new("unknown_kind", message), now, policy, jitter));
        }
        StopCause::Returned(returned) => returned,
    };
    let (error, after, output) = match returned {
        Ok(HandlerResult::Done(result)) => {
            return Some(match result.map(JsonText::within_limits).transpose() {
                Ok(result) => AttemptEnd::Finished(result),
                Err(error) => {
                    AttemptEnd::Failed(JobError::new("bad_result", format!("the result {error}")), None)
                }
            });
        }
        Ok(HandlerResult::Fail { error, output }) => return Some(failed(error, output)),
        Ok(HandlerResult::Retry { error, after, output }) => (error, after, output),
        Ok(HandlerResult::NotNow(error)) => return Some(not_here(run, error, now, policy, jitter)),
        Ok(HandlerResult::Stopped(output)) => {
            (JobError::new("stopped", "the handler stopped without having been told to"), None, output)
        }
        Err(panic) => (JobError::new("panic", panic_message(panic)), None, None),
    };
    if run.charged >= run.max_attempts {
        return Some(failed(error, output));
    }
    let longest = || match run.retry {
        Some(own) => own.longest(run.charged - 1),
        None => backoff(policy, run.charged - 1),
    };
    let pause = after.unwrap_or_else(|| longest().mul_f64(jitter));
    Some(AttemptEnd::Retry(error, later(pause), fitting(output)))
}

fn failed(error: JobError, output: Option<JsonText>) -> AttemptEnd {
    AttemptEnd::Failed(error, fitting(output))
}

/// An output that is too large is left out: the error says more.
fn fitting(output: Option<JsonText>) -> Option<JsonText> {
    output.and_then(|output| output.within_limits().ok())
}

/// What a handler had that was told to stop.
fn output(returned: Option<HandlerResult>) -> Option<JsonText> {
    fitting(match returned? {
        HandlerResult::Done(output)
        | HandlerResult::Retry { output, .. }
        | HandlerResult::Fail { output, .. }
        | HandlerResult::Stopped(output) => output,
        HandlerResult::NotNow(_) => None,
    })
}

/// The longest pause after so many failures (from 0): exponential back-off, of which full jitter takes a part.
fn backoff(policy: RetryPolicy, failures: u32) -> Duration {
    let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
    policy.base.saturating_mul(factor).min(policy.max)
}

/// A quarter of the time that it has waited so far, so that the pauses grow; in the end it fails.
fn not_here(run: &Run, error: JobError, now: DateTime, policy: RetryPolicy, jitter: f64) -> AttemptEnd {
    let since = run.unknown_kind_since.unwrap_or(now);
    let waited_ms = u64::try_from(now.timestamp_millis() - since.timestamp_millis()).unwrap_or(0);
    let waited = Duration::from_millis(waited_ms);
    if waited >= policy.unknown_kind_wait {
        return AttemptEnd::Failed(error, None);
    }
    let (shortest, longest) = UNKNOWN_KIND_PAUSE;
    let pause = (waited / 4).clamp(shortest, longest).mul_f64(0.5 + jitter / 2.0);
    // It is looked at once more when its wait is over.
    let pause = pause.min(policy.unknown_kind_wait - waited);
    AttemptEnd::UnknownKind(error, DateTime::from_millis(now.timestamp_millis() + millis(pause).max(1)))
}

fn panic_message(panic: Panic) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("no message", |text| text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared_events::RetryPauses;

    use super::*;
    use crate::ledger::tests::{at, running};

    const POLICY: RetryPolicy = RetryPolicy {
        base: Duration::from_secs(1),
        max: Duration::from_secs(600),
        unknown_kind_wait: Duration::from_secs(3600),
    };

    fn error() -> JobError {
        JobError::new("planned", "")
    }

    fn output() -> JsonText {
        JsonText::from_stored("[1]".to_owned()).unwrap()
    }

    fn end(run: &Run, cause: StopCause) -> Option<AttemptEnd> {
        attempt_end(run, cause, at(100), POLICY, 1.0)
    }

    #[test]
    fn what_a_handler_returned_and_why_it_was_stopped_decide() {
        let last = Run { charged: 2, ..running() };
        let returned = |result| StopCause::Returned(Ok(result));
        let retry = |after| HandlerResult::Retry { error: error(), after, output: Some(output()) };
        let fail = || HandlerResult::Fail { error: error(), output: Some(output()) };
        let stopped = |reason, result| StopCause::Stopped(reason, result);
        let table = [
            (returned(HandlerResult::Done(None)), AttemptEnd::Finished(None)),
            (returned(HandlerResult::Done(Some(output()))), AttemptEnd::Finished(Some(output()))),
            (returned(fail()), AttemptEnd::Failed(error(), Some(output()))),
            (returned(retry(None)), AttemptEnd::Retry(error(), at(101), Some(output()))),
            (
                returned(retry(Some(Duration::from_secs(9)))),
                AttemptEnd::Retry(error(), at(109), Some(output())),
            ),
            (StopCause::OutOfTime(None), AttemptEnd::Cancelled(CancelReason::Timeout, None)),
            (
                StopCause::OutOfTime(Some(HandlerResult::Stopped(Some(output())))),
                AttemptEnd::Cancelled(CancelReason::Timeout, Some(output())),
            ),
            (stopped(StopReason::Requested, None), AttemptEnd::Cancelled(CancelReason::Requested, None)),
            (
                stopped(StopReason::Requested, Some(HandlerResult::Done(None))),
                AttemptEnd::Cancelled(CancelReason::Requested, None),
            ),
            (stopped(StopReason::Shutdown, None), AttemptEnd::Released),
            (stopped(StopReason::Shutdown, Some(HandlerResult::Stopped(None))), AttemptEnd::Released),
            (stopped(StopReason::Shutdown, Some(HandlerResult::Done(None))), AttemptEnd::Finished(None)),
        ];
        for (cause, expected) in table {
            let what = format!("{cause:?}");
            assert_eq!(end(&running(), cause), Some(expected), "{what}");
        }
        assert_eq!(end(&last, returned(retry(None))), Some(AttemptEnd::Failed(error(), Some(output()))));
        assert_eq!(end(&running(), stopped(StopReason::Superseded, None)), None);
        let panic = StopCause::Returned(Err(Box::new("oh")));
        assert_eq!(end(&last, panic), Some(AttemptEnd::Failed(JobError::new("panic", "oh"), None)));
    }

    #[test]
    fn a_run_of_an_unknown_kind_waits_ever_longer_and_then_fails() {
        let waits = |since| end(&Run { unknown_kind_since: since, ..running() }, StopCause::UnknownKind);
        let until = |since| match waits(since) {
            Some(AttemptEnd::UnknownKind(error, until)) if error.code == "unknown_kind" => until,
            other => panic!("{other:?}"),
        };
        assert_eq!(until(None), at(101));
        assert_eq!(until(Some(at(60))), at(110));
        assert_eq!(until(Some(at(-3000))), at(160));
        assert_eq!(until(Some(at(-3490))), at(110), "no longer than its wait");
        assert!(matches!(waits(Some(at(-3500))), Some(AttemptEnd::Failed(..))));
    }

    #[test]
    fn a_run_that_can_not_be_done_now_waits_uncharged_as_one_of_an_unknown_kind() {
        let not_now = || StopCause::Returned(Ok(HandlerResult::NotNow(error())));
        assert_eq!(end(&running(), not_now()), Some(AttemptEnd::UnknownKind(error(), at(101))));
        let long = Run { unknown_kind_since: Some(at(-3500)), ..running() };
        assert_eq!(end(&long, not_now()), Some(AttemptEnd::Failed(error(), None)));
        let stopped = StopCause::Stopped(StopReason::Shutdown, Some(HandlerResult::NotNow(error())));
        assert_eq!(end(&running(), stopped), Some(AttemptEnd::Released));
    }

    #[test]
    fn a_job_that_says_itself_how_long_it_waits_does() {
        let own = Some(RetryPauses { base_s: 20.0, max_s: 30.0, factor: 3.0 });
        let retry = |after| HandlerResult::Retry { error: error(), after, output: None };
        let next_at = |charged, result| {
            let run = Run { charged, max_attempts: 9, retry: own, ..running() };
            match end(&run, StopCause::Returned(Ok(result))) {
                Some(AttemptEnd::Retry(_, next_at, _)) => next_at,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((next_at(1, retry(None)), next_at(2, retry(None))), (at(120), at(130)));
        assert_eq!(
            next_at(2, retry(Some(Duration::from_secs(1)))),
            at(101),
            "the handler's word comes first"
        );
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let seconds: Vec<u64> = (0..12).map(|failures| backoff(POLICY, failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    proptest! {
        #[test]
        fn a_pause_is_between_nothing_and_its_longest(charged in 1..1000_u32, jitter in 0.0..=1.0_f64) {
            let run = Run { charged, max_attempts: u32::MAX, ..running() };
            let retry = HandlerResult::Retry { error: error(), after: None, output: None };
            let end = attempt_end(&run, StopCause::Returned(Ok(retry)), at(0), POLICY, jitter);
            let Some(AttemptEnd::Retry(_, next_at, _)) = end else { panic!("{end:?}") };
            prop_assert!(at(0) <= next_at && next_at <= at(600));
        }
    }
}
