//! The payload of `command`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BadPayload, Payload};

/// How many arguments, and how many variables, a program may be given.
const MOST: usize = 1000;

/// Runs a program of the worker's machine, and says what it gave: `{"exit_code": …, "stdout": {"text": …, …}, "stderr":
/// {"text": …, …}, "duration_ms": …}`.
///
/// Only programs that the operator allows are run (`COMMAND_ALLOW`). Of each output the last 64 KiB are kept. The program
/// has `PATH`, `HASTY_JOB_ID`, `HASTY_RUN`, `HASTY_ATTEMPT`, `TRACEPARENT` and `env` in its environment. What it starts
/// ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "program": "echo", "args": ["hello"] }))]
pub struct Command {
    /// Which program, as `COMMAND_ALLOW` has it: a name, or an absolute path.
    #[schema(min_length = 1, max_length = 4096)]
    pub program: String,
    /// Its arguments, at most a thousand.
    #[serde(default)]
    #[schema(default = json!([]))]
    pub args: Vec<String>,
    /// What is in its environment besides, at most a thousand variables.
    #[serde(default)]
    #[schema(default = json!({}))]
    pub env: BTreeMap<String, String>,
    /// What it reads from its standard input; nothing where absent.
    pub stdin: Option<String>,
    /// Where it runs: an absolute path; `/` where absent.
    #[schema(min_length = 1, max_length = 4096)]
    pub working_dir: Option<String>,
    /// Which exit codes are a success.
    #[serde(default = "Command::default_success_codes")]
    #[schema(default = Command::default_success_codes, min_items = 1, max_items = 256)]
    pub success_codes: Vec<ExitStatus>,
    /// How many processes it may be at a time, itself included.
    #[serde(default = "Command::default_max_processes")]
    #[schema(default = Command::default_max_processes, minimum = 1, maximum = 1000)]
    pub max_processes: u32,
    /// How much memory it may have, in MiB: each process, and all together.
    #[serde(default = "Command::default_memory_mb")]
    #[schema(default = Command::default_memory_mb, minimum = 16, maximum = 1_048_576)]
    pub memory_mb: u32,
    /// How long each of its processes may compute, in seconds of one core; as long as all cores can within `timeout_s`
    /// where absent.
    #[schema(minimum = 1, maximum = 8_640_000)]
    pub cpu_s: Option<u32>,
}

/// What a program exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(minimum = 0, maximum = 255)]
pub struct ExitStatus(pub u8);

impl Command {
    fn default_success_codes() -> Vec<ExitStatus> {
        vec![ExitStatus(0)]
    }

    const fn default_max_processes() -> u32 {
        64
    }

    const fn default_memory_mb() -> u32 {
        1024
    }

    /// Whether this exit code is a success.
    #[must_use]
    pub fn is_success(&self, code: i32) -> bool {
        self.success_codes.iter().any(|success| i32::from(success.0) == code)
    }
}

impl Payload for Command {
    const KIND: &'static str = "command";

    fn check(&self) -> Result<(), BadPayload> {
        let wrong = |field: &str, message: &str| Err(BadPayload::new(field, message));
        if let Err(message) = check_program(&self.program) {
            return wrong("program", message);
        }
        if self.args.len() > MOST {
            return wrong("args", "must have at most 1000 arguments");
        }
        if let Some(index) = self.args.iter().position(|arg| arg.contains('\0')) {
            return wrong(&format!("args.{index}"), "must not have a NUL character");
        }
        if self.env.len() > MOST {
            return wrong("env", "must have at most 1000 variables");
        }
        for (name, value) in &self.env {
            if let Err(message) = check_variable(name, value) {
                return wrong(&format!("env.{name}"), message);
            }
        }
        match self.working_dir.as_deref() {
            Some(dir) if dir.contains('\0') => wrong("working_dir", "must not have a NUL character"),
            Some(dir) if !dir.starts_with('/') => wrong("working_dir", "must be an absolute path"),
            _ => Ok(()),
        }
    }
}

fn check_program(program: &str) -> Result<(), &'static str> {
    if program.contains('\0') {
        return Err("must not have a NUL character");
    }
    if program.contains('/') && !program.starts_with('/') {
        return Err("must be a name or an absolute path");
    }
    Ok(())
}

fn check_variable(name: &str, value: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("is not a variable's name");
    }
    if value.contains('\0') {
        return Err("must not have a NUL character");
    }
    if name == "TRACEPARENT" || name.starts_with("HASTY_") {
        return Err("is set by the worker");
    }
    // They would have the program run what the operator has not allowed.
    if name.starts_with("LD_") {
        return Err("is the dynamic linker's, and not for clients");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{JsonText, payloads::check};

    fn wrong(payload: &serde_json::Value) -> Vec<String> {
        let payload = JsonText::of(payload).unwrap();
        check(&"command".parse().unwrap(), &payload).into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn what_can_not_be_run_is_told_by_its_field() {
        assert_eq!(wrong(&json!({ "program": "/bin/echo", "env": { "A": "=" } })), [""; 0]);
        for (payload, field) in [
            (json!({}), "payload.program"),
            (json!({ "program": "" }), "payload.program"),
            (json!({ "program": "bin/echo" }), "payload.program"),
            (json!({ "program": "a\0b" }), "payload.program"),
            (json!({ "program": "a", "args": "b" }), "payload.args"),
            (json!({ "program": "a", "args": ["b", "\0"] }), "payload.args.1"),
            (json!({ "program": "a", "args": vec![""; 1001] }), "payload.args"),
            (json!({ "program": "a", "env": { "": "" } }), "payload.env."),
            (json!({ "program": "a", "env": { "A=B": "" } }), "payload.env.A=B"),
            (json!({ "program": "a", "env": { "A": "\0" } }), "payload.env.A"),
            (json!({ "program": "a", "env": { "HASTY_RUN": "" } }), "payload.env.HASTY_RUN"),
            (json!({ "program": "a", "env": { "LD_PRELOAD": "" } }), "payload.env.LD_PRELOAD"),
            (json!({ "program": "a", "working_dir": "tmp" }), "payload.working_dir"),
            (json!({ "program": "a", "success_codes": [] }), "payload.success_codes"),
            (json!({ "program": "a", "success_codes": [256] }), "payload.success_codes.0"),
            (json!({ "program": "a", "max_processes": 0 }), "payload.max_processes"),
            (json!({ "program": "a", "memory_mb": 1 }), "payload.memory_mb"),
            (json!({ "program": "a", "cpu_s": 0 }), "payload.cpu_s"),
            (json!({ "program": "a", "shell": true }), "payload.shell"),
        ] {
            assert_eq!(wrong(&payload), [field], "{payload}");
        }
    }

    #[test]
    fn success_is_what_the_client_says() {
        let command = |json| serde_json::from_value::<Command>(json).unwrap();
        let plain = command(json!({ "program": "a" }));
        assert!(plain.is_success(0) && !plain.is_success(1));
        let own = command(json!({ "program": "a", "success_codes": [3, 255] }));
        assert!(own.is_success(255) && !own.is_success(0) && !own.is_success(-1));
    }
}
