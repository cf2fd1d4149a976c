//! The payload of `container`.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{BadPayload, ExitStatus, Payload};

/// How many arguments, lines and variables there may be.
const MOST: usize = 1000;

/// The most bytes of a script, with the ends of its lines: a program is given no argument that is longer.
const MOST_SCRIPT: usize = 100 * 1024;

/// Runs a program in a container, and says what it gave: `{"exit_code": …, "stdout": {"text": …, …}, "stderr": {"text": …, …},
/// "duration_ms": …}`.
///
/// Only images that the operator allows are run (`CONTAINER_IMAGES`), on the worker's own engine. Of each output the last 64
/// KiB are kept. The program has no privileges, can write only to `/tmp`, and has `HASTY_JOB_ID`, `HASTY_RUN`, `HASTY_ATTEMPT`,
/// `TRACEPARENT` and `env` in its environment besides what its image sets.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "image": "debian:bookworm-slim", "script": ["echo hello"] }))]
pub struct Container {
    /// Which image, such as `alpine:3.22` or `registry.example/tools/report@sha256:…`.
    #[schema(min_length = 1, max_length = 512)]
    pub image: String,
    /// What the image's entry point is given, at most a thousand arguments; what the image says where absent.
    pub command: Option<Vec<String>>,
    /// Lines that its `sh` runs instead, after the operator's own (`SCRIPT_HEADER`); at most a thousand.
    pub script: Option<Vec<String>>,
    /// What is in its environment besides, at most a thousand variables.
    #[serde(default)]
    #[schema(default = json!({}))]
    pub env: BTreeMap<String, String>,
    /// Where it runs: an absolute path. Where absent, `/tmp` for a script, and else what the image says.
    #[schema(min_length = 1, max_length = 4096)]
    pub working_dir: Option<String>,
    /// Which exit codes are a success.
    #[serde(default = "Container::default_success_codes")]
    #[schema(default = Container::default_success_codes, min_items = 1, max_items = 256)]
    pub success_codes: Vec<ExitStatus>,
    /// How many cores it may use.
    #[serde(default = "Container::default_cpus")]
    #[schema(default = Container::default_cpus, minimum = 0.01, maximum = 1024)]
    pub cpus: f64,
    /// How much memory it may have, in MiB; there is no swap besides.
    #[serde(default = "Container::default_memory_mb")]
    #[schema(default = Container::default_memory_mb, minimum = 16, maximum = 1_048_576)]
    pub memory_mb: u32,
    /// How many processes it may be at a time.
    #[serde(default = "Container::default_max_processes")]
    #[schema(default = Container::default_max_processes, minimum = 1, maximum = 1000)]
    pub max_processes: u32,
    /// Which of the engine's networks it is in: one that the operator allows (`CONTAINER_NETWORKS`), or `none`.
    #[serde(default = "Container::default_network")]
    #[schema(default = Container::default_network, min_length = 1, max_length = 128)]
    pub network: String,
    /// When the image is fetched from its registry.
    #[serde(default)]
    #[schema(default = Pull::default)]
    pub pull: Pull,
}

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// Where the engine does not have it.
    #[default]
    Missing,
    /// Before each attempt.
    Always,
    /// Not at all.
    Never,
}

impl Container {
    /// The network of those that have none.
    pub const NO_NETWORK: &'static str = "none";

    fn default_success_codes() -> Vec<ExitStatus> {
        vec![ExitStatus(0)]
    }

    const fn default_cpus() -> f64 {
        1.0
    }

    const fn default_memory_mb() -> u32 {
        512
    }

    const fn default_max_processes() -> u32 {
        64
    }

    fn default_network() -> String {
        Self::NO_NETWORK.to_owned()
    }

    /// Whether this exit code is a success.
    #[must_use]
    pub fn is_success(&self, code: i64) -> bool {
        self.success_codes.iter().any(|success| i64::from(success.0) == code)
    }
}

impl Payload for Container {
    const KIND: &'static str = "container";

    fn check(&self) -> Result<(), BadPayload> {
        let wrong = |field: &str, message: &str| Err(BadPayload::new(field, message));
        if !is_image(&self.image) {
            return wrong("image", "must be the name of an image, such as `alpine:3.22`");
        }
        if self.command.is_some() && self.script.is_some() {
            return wrong("script", "must not be there where `command` is");
        }
        for (field, texts) in [("command", &self.command), ("script", &self.script)] {
            let texts = texts.as_deref().unwrap_or_default();
            if texts.len() > MOST {
                return wrong(field, "must have at most 1000 entries");
            }
            if let Some(index) = texts.iter().position(|text| text.contains('\0')) {
                return wrong(&format!("{field}.{index}"), "must not have a NUL character");
            }
        }
        let script = self.script.iter().flatten();
        if script.map(|line| line.len() + 1).sum::<usize>() > MOST_SCRIPT {
            return wrong("script", "must have at most 100 KiB");
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

/// Whether the text may name an image: no engine and no registry takes other characters.
fn is_image(image: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    image.bytes().all(is_part) && image.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{JsonText, payloads::check};

    fn wrong(payload: &Value) -> Vec<String> {
        let payload = JsonText::of(payload).unwrap();
        check(&"container".parse().unwrap(), &payload).into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn what_can_not_be_run_is_told_by_its_field() {
        for fine in [
            json!({ "image": "busybox" }),
            json!({ "image": "registry.example:5000/a/b_c:1.2-x@sha256:0f", "command": [] }),
            json!({ "image": "a", "script": ["echo"], "pull": "never", "network": "bridge", "cpus": 0.5 }),
        ] {
            assert_eq!(wrong(&fine), [""; 0], "{fine}");
        }
        let with = |field: &str, value: Value| {
            let mut payload = json!({ "image": "a" });
            payload[field] = value;
            payload
        };
        for (payload, field) in [
            (json!({}), "payload.image"),
            (json!({ "image": "" }), "payload.image"),
            (json!({ "image": "a b" }), "payload.image"),
            (json!({ "image": "-a" }), "payload.image"),
            (json!({ "image": "a\0" }), "payload.image"),
            (json!({ "image": "a", "command": [], "script": [] }), "payload.script"),
            (with("command", json!("ls")), "payload.command"),
            (with("command", json!(["a", "\0"])), "payload.command.1"),
            (with("script", json!(vec!["a"; 1001])), "payload.script"),
            (with("script", json!(["x".repeat(MOST_SCRIPT)])), "payload.script"),
            (with("env", json!({ "A=B": "" })), "payload.env.A=B"),
            (with("env", json!({ "HASTY_RUN": "" })), "payload.env.HASTY_RUN"),
            (with("working_dir", json!("tmp")), "payload.working_dir"),
            (with("success_codes", json!([])), "payload.success_codes"),
            (with("cpus", json!(0)), "payload.cpus"),
            (with("memory_mb", json!(1)), "payload.memory_mb"),
            (with("max_processes", json!(0)), "payload.max_processes"),
            (with("network", json!("")), "payload.network"),
            (with("pull", json!("often")), "payload.pull"),
            (with("privileged", json!(true)), "payload.privileged"),
        ] {
            assert_eq!(wrong(&payload), [field], "{payload}");
        }
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let plain: Container = serde_json::from_value(json!({ "image": "a" })).unwrap();
        assert_eq!((plain.cpus, plain.memory_mb, plain.max_processes), (1.0, 512, 64));
        assert_eq!((plain.network.as_str(), plain.pull), (Container::NO_NETWORK, Pull::Missing));
        assert!(plain.is_success(0) && !plain.is_success(1) && !plain.is_success(256));
    }
}
