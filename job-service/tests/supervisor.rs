//! The supervisor of programs that misbehave: real processes, ordered as a worker does.

#![allow(clippy::unwrap_used, reason = "a test that can not be set up is to panic")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

/// For what should take no time; a test that waits so long has failed.
const SOON: Duration = Duration::from_secs(60);

/// A supervisor and its program; every process of the program has a variable of its own in its environment.
struct Supervised {
    process: Child,
    requests: Option<ChildStdin>,
    name: String,
    folder: PathBuf,
}

impl Supervised {
    /// A shell script, within limits that it does not reach.
    fn script(script: &str) -> Self {
        Self::with(script, |_| ())
    }

    fn with(script: &str, change: impl FnOnce(&mut Value)) -> Self {
        let name = Uuid::new_v4().to_string();
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder).unwrap();
        let mut order = json!({
            "program": "/bin/sh",
            "args": ["-c", script],
            "env": { "PATH": "/usr/bin:/bin", "TEST": name },
            "working_dir": folder,
            "limits": { "processes": 64, "memory_bytes": 1 << 30, "cpu_s": 600, "open_files": 256 },
            "grace_ms": 200,
        });
        change(&mut order);
        let mut process = Command::new(env!("CARGO_BIN_EXE_job-service"))
            .arg("supervise")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut requests = process.stdin.take().unwrap();
        writeln!(requests, "{order}").unwrap();
        Self { process, requests: Some(requests), name, folder }
    }

    /// Waits until the script has made this file.
    fn reaches(&self, file: &str) {
        until(&format!("the file {file}"), || self.folder.join(file).exists());
    }

    fn ask_to_stop(&mut self) {
        writeln!(self.requests.as_mut().unwrap(), "\"stop\"").unwrap();
    }

    /// What it says in the end; nothing of the program is left then.
    fn report(&mut self) -> Value {
        let lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        let mut reports = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let report = reports.find(|report| report.get("lines").is_none()).expect("a report");
        assert_eq!(self.alive(), [0; 0], "{report}");
        report
    }

    fn ended(&mut self) -> Value {
        self.report()["ended"].clone()
    }

    /// The processes of the program.
    fn alive(&self) -> Vec<u32> {
        let mark = format!("TEST={}", self.name);
        let is_one = |folder: &Path| {
            let environment = fs::read(folder.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter(|entry| is_one(&entry.path()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// The most memory that the supervisor has had, in bytes.
    fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < SOON, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_gets_what_was_ordered_and_its_end_is_told() {
    let script = "cat; echo \"$A|$HASTY_SUPERVISOR|$HOME|$(pwd)\"; printf 'err\\377' >&2; ulimit -n; exit 3";
    let mut supervised = Supervised::with(script, |order| {
        order["stdin"] = json!("read me\n");
        order["env"]["A"] = json!("ü = 'x'");
    });
    let name = supervised.folder.to_str().unwrap().to_owned();
    let ended = supervised.ended();
    let output = &ended["output"];
    let lines: Vec<&str> = output["stdout"]["text"].as_str().unwrap().lines().collect();
    assert_eq!((lines[0], lines[2]), ("read me", "256"), "{ended}");
    assert!(lines[1].starts_with("ü = 'x'|") && lines[1].ends_with(&format!("||{name}")), "{ended}");
    let stderr = json!({ "text": "err\\xff", "bytes": 4, "cut": false, "not_utf8": true });
    assert_eq!(
        (&output["exit_code"], &output["stderr"], &ended["stopped"]),
        (&json!(3), &stderr, &json!(false))
    );
}

#[test]
fn a_program_that_heeds_sigterm_ends_by_itself() {
    let script = "trap 'echo bye; exit 0' TERM; touch ready; while :; do sleep 0.05; done";
    let mut supervised = Supervised::with(script, |order| order["grace_ms"] = json!(60_000));
    supervised.reaches("ready");
    supervised.ask_to_stop();
    let ended = supervised.ended();
    assert_eq!((&ended["output"]["exit_code"], &ended["stopped"]), (&json!(0), &json!(true)), "{ended}");
    assert!(ended["output"]["stdout"]["text"].as_str().unwrap().ends_with("bye\n"), "{ended}");
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_its_grace_with_all_that_it_has_started() {
    let script =
        "trap '' TERM; sleep 1000 & (setsid sleep 1000 &) ; touch ready; while :; do sleep 0.05; done";
    let mut supervised = Supervised::script(script);
    supervised.reaches("ready");
    supervised.ask_to_stop();
    let ended = supervised.ended();
    assert_eq!((&ended["output"]["signal"], &ended["stopped"]), (&json!(9), &json!(true)), "{ended}");
    assert!(ended["output"].get("exit_code").is_none(), "{ended}");
}

#[test]
fn ten_gigabytes_of_output_neither_stall_the_program_nor_fill_the_memory() {
    let script = "dd if=/dev/zero bs=1M count=10240 2>/dev/null; echo done; touch ready; exec sleep 1000";
    let mut supervised = Supervised::script(script);
    supervised.reaches("ready");
    let most = supervised.most_memory();
    assert!(most < 64 << 20, "{most}");
    supervised.ask_to_stop();
    let ended = supervised.ended();
    let stdout = &ended["output"]["stdout"];
    assert_eq!((&stdout["bytes"], &stdout["cut"]), (&json!((10_u64 << 30) + 5), &json!(true)));
    let text = stdout["text"].as_str().unwrap();
    assert!(text.ends_with("\0done\n") && serde_json::to_string(text).unwrap().len() <= (64 << 10) + 2);
}

#[test]
fn a_program_that_closes_its_outputs_and_goes_on_is_waited_for() {
    let mut supervised = Supervised::script("echo a; exec >&- 2>&-; sleep 0.3; touch ready; exit 7");
    let ended = supervised.ended();
    assert_eq!(
        (&ended["output"]["exit_code"], &ended["output"]["stdout"]["text"]),
        (&json!(7), &json!("a\n"))
    );
    assert!(supervised.folder.join("ready").exists() && ended["output"]["duration_ms"].as_u64() >= Some(300));
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let daemon = "setsid sh -c 'trap \"\" TERM HUP; touch daemon; exec sleep 1000' <&- >&- 2>&- &";
    let script =
        format!("{daemon} (sleep 1000 &) ; while ! test -e daemon; do sleep 0.01; done; echo over; exit 0");
    let ended = Supervised::script(&script).ended();
    assert_eq!((&ended["output"]["exit_code"], &ended["stopped"]), (&json!(0), &json!(false)), "{ended}");
    assert_eq!(ended["output"]["stdout"]["text"], "over\n");
    assert!(ended["output"]["duration_ms"].as_u64() < Some(1000), "the program alone is measured: {ended}");
}

/// It can not hurt this machine: it is 512 processes in the end, should nobody stop it.
#[test]
fn a_program_that_is_more_and_more_processes_is_killed() {
    let bomb = "b() { if [ $1 -lt 8 ]; then b $(($1 + 1)) & b $(($1 + 1)) & wait; else sleep 60; fi; }; b 0";
    let mut supervised = Supervised::with(bomb, |order| order["limits"]["processes"] = json!(40));
    let ended = supervised.ended();
    assert_eq!(ended["exceeded"], "processes", "{ended}");
    assert_eq!(ended["output"]["signal"], 9, "{ended}");
}

#[test]
fn many_processes_one_after_another_are_no_reason() {
    let script = "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i + 1)); done";
    let ended = Supervised::with(script, |order| order["limits"]["processes"] = json!(3)).ended();
    assert_eq!((&ended["output"]["exit_code"], ended.get("exceeded")), (&json!(0), None), "{ended}");
}

#[test]
fn memory_is_limited_for_each_process_and_for_all_together() {
    let limit = |order: &mut Value| order["limits"]["memory_bytes"] = json!(64 << 20);
    // It keeps all that it reads.
    let ended = Supervised::with("exec tail /dev/zero", limit).ended();
    assert_eq!(ended["output"]["exit_code"], 1, "{ended}");
    let holds = "{ head -c 45000000 /dev/zero; sleep 1000; } | tail -c 45000000";
    let ended = Supervised::with(&format!("{holds} & {holds} & wait"), limit).ended();
    assert_eq!(ended["exceeded"], "memory", "{ended}");
}

#[test]
fn cpu_time_is_limited() {
    let ended = Supervised::with("while :; do :; done", |order| order["limits"]["cpu_s"] = json!(1)).ended();
    // SIGXCPU
    assert_eq!(ended["output"]["signal"], 24, "{ended}");
}

#[test]
fn an_input_that_is_not_read_hinders_nobody() {
    let ended = Supervised::with("exit 0", |order| order["stdin"] = json!("x".repeat(500_000))).ended();
    assert_eq!(ended["output"]["exit_code"], 0, "{ended}");
}

#[test]
fn what_can_not_be_started_is_told() {
    let no_program = Supervised::with("", |order| order["program"] = json!("/etc/passwd")).report();
    assert!(no_program["not_started"].as_str().unwrap().contains("Permission denied"), "{no_program}");
    let no_folder = Supervised::with("", |order| order["working_dir"] = json!("/no/such")).report();
    assert!(no_folder["not_started"].as_str().unwrap().contains("/no/such"), "{no_folder}");
    let like_it = Supervised::script("echo 'no such command' >&2; exit 127").ended();
    assert_eq!(like_it["output"]["exit_code"], 127);
}

#[test]
fn where_the_worker_dies_nothing_is_left_whatever_the_program_heeds() {
    let script = "trap '' TERM; (setsid sleep 1000 &); touch ready; while :; do sleep 0.05; done";
    let mut supervised = Supervised::with(script, |order| order["grace_ms"] = json!(600_000));
    supervised.reaches("ready");
    assert!(supervised.alive().len() >= 2);
    // The system closes a dead worker's pipes.
    supervised.requests = None;
    assert!(supervised.process.wait().unwrap().success());
    assert_eq!(supervised.alive(), [0; 0]);
}

#[test]
fn where_the_supervisor_is_killed_its_program_goes_with_it() {
    let mut supervised = Supervised::script("touch ready; exec sleep 1000");
    supervised.reaches("ready");
    supervised.process.kill().unwrap();
    until("the program to be gone", || supervised.alive().is_empty());
}
