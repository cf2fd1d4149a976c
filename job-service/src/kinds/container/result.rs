//! What becomes of an attempt, by how its container ended: pure decisions.

use shared_events::{JobError, JsonText, payloads::Container};

use super::follow::Ended;
use crate::kinds::HandlerResult;

pub(super) fn of(container: &Container, ended: &Ended) -> HandlerResult {
    let Ended { output, stopped, out_of_memory } = ended;
    let shown = JsonText::of(output).ok();
    let code = output.exit_code;
    let is_success = code.is_some_and(|code| container.is_success(code.into()));
    // One of its processes may have been killed, and the program have made up for it.
    if *out_of_memory && !is_success {
        let message = format!("it had more than {} MiB of memory", container.memory_mb);
        return HandlerResult::Fail {
            error: JobError::new("container_out_of_memory", message),
            output: shown,
        };
    }
    if *stopped {
        return HandlerResult::Stopped(shown);
    }
    if is_success {
        return HandlerResult::Done(shown);
    }
    let message = code.map_or_else(
        || "it is not known how the program ended".to_owned(),
        |code| format!("the program exited with {code}"),
    );
    HandlerResult::Retry { error: JobError::new("container_exit_code", message), after: None, output: shown }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared_events::{Captured, ProgramOutput};

    use super::*;

    fn result(exit_code: i32, stopped: bool, out_of_memory: bool) -> HandlerResult {
        let container = serde_json::from_value(json!({ "image": "a", "success_codes": [0, 3] })).unwrap();
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let output =
            ProgramOutput { exit_code: Some(exit_code), signal: None, stdout, stderr, duration_ms: 1 };
        of(&container, &Ended { output, stopped, out_of_memory })
    }

    #[test]
    fn exit_code_stop_and_memory_decide() {
        assert!(matches!(result(3, false, false), HandlerResult::Done(Some(_))));
        assert!(matches!(result(0, false, true), HandlerResult::Done(Some(_))));
        assert!(matches!(result(0, true, false), HandlerResult::Stopped(Some(_))));
        let HandlerResult::Retry { error, output: Some(_), .. } = result(1, false, false) else { panic!() };
        assert_eq!(error.code, "container_exit_code");
        for stopped in [false, true] {
            let HandlerResult::Fail { error, output: Some(_) } = result(137, stopped, true) else { panic!() };
            assert_eq!(error.code, "container_out_of_memory");
        }
    }
}
