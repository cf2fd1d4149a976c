//! What the engine is told of a container: what a job asks for, and what no job may have.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use shared_events::payloads::Container;

use super::{GRACE, labels::Labels};
use crate::kinds::Context;

/// The scratch folder.
const SCRATCH: &str = "/tmp";

/// The container of this attempt; the image would have volumes at `volumes`.
pub(super) fn of(
    container: &Container,
    context: &Context,
    labels: &Labels,
    script_header: &str,
    volumes: &[String],
) -> ContainerCreateBody {
    let script = container.script.as_ref().map(|lines| script(script_header, lines));
    let working_dir = container.working_dir.clone().or_else(|| script.is_some().then(|| SCRATCH.to_owned()));
    let (entrypoint, cmd) = match script {
        Some(script) => (Some(vec!["sh".to_owned()]), Some(vec!["-c".to_owned(), script])),
        None => (None, container.command.clone().filter(|command| !command.is_empty())),
    };
    ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint,
        cmd,
        working_dir,
        env: Some(env(container, context)),
        labels: Some(labels.written()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: i64::try_from(GRACE.as_secs()).ok(),
        host_config: Some(confined(container, volumes)),
        ..ContainerCreateBody::default()
    }
}

fn script(header: &str, lines: &[String]) -> String {
    let header = Some(header).filter(|header| !header.is_empty());
    let lines = lines.iter().map(String::as_str);
    header.into_iter().chain(lines).fold(String::new(), |script, line| script + line + "\n")
}

fn env(container: &Container, context: &Context) -> Vec<String> {
    let run = context.run_id();
    let own = [
        ("HASTY_JOB_ID", run.job.to_string()),
        ("HASTY_RUN", run.run.to_string()),
        ("HASTY_RUN_ID", run.to_string()),
        ("HASTY_ATTEMPT", context.attempt().to_string()),
    ];
    let trace = context.handed_on().map(|trace| format!("TRACEPARENT={trace}"));
    let clients = container.env.iter().map(|(name, value)| format!("{name}={value}"));
    clients.chain(own.map(|(name, value)| format!("{name}={value}"))).chain(trace).collect()
}

/// No privileges, nothing to write to but scratch folders in its own memory, and bounds on all that it may use.
fn confined(container: &Container, volumes: &[String]) -> HostConfig {
    let memory = i64::from(container.memory_mb) << 20;
    let scratch = format!("rw,exec,nosuid,nodev,mode=1777,size={memory}");
    let folders = volumes.iter().map(String::as_str).chain([SCRATCH]);
    let tmpfs: HashMap<String, String> = folders.map(|folder| (folder.to_owned(), scratch.clone())).collect();
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        tmpfs: Some(tmpfs),
        pids_limit: Some(i64::from(container.max_processes)),
        memory: Some(memory),
        // Of memory and swap together.
        memory_swap: Some(memory),
        #[allow(clippy::cast_possible_truncation, reason = "its schema has a maximum")]
        nano_cpus: Some((container.cpus * 1e9) as i64),
        network_mode: Some(container.network.clone()),
        ipc_mode: Some("private".to_owned()),
        // What it starts and leaves does not stay, and signals reach programs that expect not to be the first process.
        init: Some(true),
        // Its outputs are read as they come, and not kept by the engine.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use shared_events::JobId;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn made(payload: Value) -> Value {
        let container: Container = serde_json::from_value(payload).unwrap();
        let context =
            Context::new(JobId::generate().run(1), 2, Duration::from_secs(60), CancellationToken::new());
        let labels = Labels::of(&context);
        serde_json::to_value(of(&container, &context, &labels, "set -e", &["/data".to_owned()])).unwrap()
    }

    #[tokio::test]
    async fn a_container_has_no_privileges_and_only_scratch_to_write_to() {
        let host = made(json!({ "image": "a", "cpus": 0.5, "memory_mb": 64 }))["HostConfig"].clone();
        let memory = 64 << 20;
        for (field, value) in [
            ("CapDrop", json!(["ALL"])),
            ("SecurityOpt", json!(["no-new-privileges"])),
            ("Privileged", json!(false)),
            ("ReadonlyRootfs", json!(true)),
            ("NetworkMode", json!("none")),
            ("PidsLimit", json!(64)),
            ("Memory", json!(memory)),
            ("MemorySwap", json!(memory)),
            ("NanoCpus", json!(500_000_000)),
        ] {
            assert_eq!(host[field], value, "{field}");
        }
        let folders: Vec<&String> = host["Tmpfs"].as_object().unwrap().keys().collect();
        assert_eq!(folders.len(), 2, "{folders:?}");
        for field in ["Binds", "Mounts", "CapAdd", "Devices", "PidMode"] {
            assert!(host[field].is_null(), "{field}");
        }
    }

    #[tokio::test]
    async fn a_command_goes_to_the_entry_point_and_a_script_to_a_shell() {
        let command = made(json!({ "image": "a", "command": ["b", "c"] }));
        assert_eq!((&command["Entrypoint"], &command["Cmd"]), (&Value::Null, &json!(["b", "c"])));
        assert!(command["WorkingDir"].is_null());
        let script = made(json!({ "image": "a", "script": ["echo 1", "echo 2"] }));
        assert_eq!(script["Entrypoint"], json!(["sh"]));
        assert_eq!(script["Cmd"], json!(["-c", "set -e\necho 1\necho 2\n"]));
        assert_eq!(script["WorkingDir"], "/tmp");
        let neither = made(json!({ "image": "a", "command": [], "env": { "A": "1" } }));
        assert!(neither["Cmd"].is_null());
        let env: Vec<&str> = neither["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(env.contains(&"A=1") && env.contains(&"HASTY_ATTEMPT=2"), "{env:?}");
    }
}
