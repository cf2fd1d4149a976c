//! What becomes of an attempt, by what its supervisor says: pure decisions.

use nix::sys::signal::Signal;
use shared_events::{JobError, JsonText, payloads::Command};

use super::protocol::{Exceeded, Report};
use crate::kinds::HandlerResult;

pub(super) fn of(command: &Command, report: Report) -> HandlerResult {
    let (output, stopped, exceeded) = match report {
        Report::NotStarted(reason) => {
            return HandlerResult::fail(JobError::new("command_not_started", reason));
        }
        Report::Ended { output, stopped, exceeded } => (output, stopped, exceeded),
        Report::Lines(_) => return HandlerResult::retry(lost()),
    };
    let (exit_code, signal) = (output.exit_code, output.signal);
    let shown = JsonText::of(&output).ok();
    let fail = |code: &str, message: String| HandlerResult::Fail {
        error: JobError::new(code, message),
        output: shown.clone(),
    };
    let retry = |code: &str, message: String| HandlerResult::Retry {
        error: JobError::new(code, message),
        after: None,
        output: shown.clone(),
    };
    match (exceeded, exit_code, signal) {
        (Some(Exceeded::Processes), ..) => fail(
            "command_processes",
            format!("it was more than {} processes at a time", command.max_processes),
        ),
        (Some(Exceeded::Memory), ..) => {
            fail("command_memory", format!("it had more than {} MiB of memory", command.memory_mb))
        }
        _ if stopped => HandlerResult::Stopped(shown),
        (None, Some(code), _) if command.is_success(code) => HandlerResult::Done(shown),
        (None, Some(code), _) => retry("command_exit_code", format!("the program exited with {code}")),
        (None, None, Some(number)) if number == Signal::SIGXCPU as i32 => {
            fail("command_cpu_time", "it has used up its CPU time".to_owned())
        }
        (None, None, Some(number)) => {
            let name = Signal::try_from(number).map_or("an unknown signal", Signal::as_str);
            retry("command_signal", format!("the program was ended by signal {number} ({name})"))
        }
        (None, None, None) => HandlerResult::Retry { error: lost(), after: None, output: shown },
    }
}

fn lost() -> JobError {
    JobError::new("command_supervisor_lost", "it is not known how the program ended")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared_events::{Captured, ProgramOutput};

    use super::*;

    fn command() -> Command {
        serde_json::from_value(json!({ "program": "a", "success_codes": [0, 3] })).unwrap()
    }

    fn output(exit_code: Option<i32>, signal: Option<i32>) -> ProgramOutput {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        ProgramOutput { exit_code, signal, stdout, stderr, duration_ms: 5 }
    }

    #[test]
    fn exit_code_signal_and_limits_decide() {
        let ended = |exit_code, signal| (exit_code, signal, false, None);
        let over = |exceeded| (None, Some(9), false, Some(exceeded));
        for ((exit_code, signal, stopped, exceeded), code, is_tried_again) in [
            (ended(Some(1), None), "command_exit_code", true),
            (ended(None, Some(9)), "command_signal", true),
            (ended(None, Some(24)), "command_cpu_time", false),
            (ended(None, None), "command_supervisor_lost", true),
            (over(Exceeded::Processes), "command_processes", false),
            (over(Exceeded::Memory), "command_memory", false),
            ((None, Some(9), true, Some(Exceeded::Processes)), "command_processes", false),
        ] {
            let output = output(exit_code, signal);
            let shown = JsonText::of(&output).ok();
            let (error, again, given) = match of(&command(), Report::Ended { output, stopped, exceeded }) {
                HandlerResult::Retry { error, output, .. } => (error, true, output),
                HandlerResult::Fail { error, output } => (error, false, output),
                other => panic!("{other:?}"),
            };
            assert_eq!((error.code.as_str(), again, given), (code, is_tried_again, shown));
        }
        let not_started = of(&command(), Report::NotStarted("why".to_owned()));
        let HandlerResult::Fail { error, output: None } = not_started else { panic!("{not_started:?}") };
        assert_eq!((error.code.as_str(), error.message.as_str()), ("command_not_started", "why"));
    }

    #[test]
    fn a_success_is_what_the_client_says_and_what_was_stopped_is_none() {
        let of = |code, stopped| {
            let report = Report::Ended { output: output(Some(code), None), stopped, exceeded: None };
            super::of(&command(), report)
        };
        assert!(matches!(of(3, false), HandlerResult::Done(Some(_))));
        assert!(matches!(of(0, true), HandlerResult::Stopped(Some(_))));
    }
}
