//! The jobs of a chaos run that are programs (kind `command`). What a program is to do is a pure function of its script; it
//! keeps the same history as the handler `fault` does.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::collect::{EFFECTS, HISTORIES};
use super::mix::{Act, Script};

/// In the environment of each program, and so of all that it starts: which run they are of.
pub(super) const MARK: &str = "CHAOS";

/// What a program that is to fail exits with, and what the run's error is called then.
pub(super) const FAILURE: &str = "command_exit_code";

/// By its environment: waits, does what its attempt is to do, and lingers. The keyed effect is a file that nobody has made
/// before; both it and the line about it are there before anything goes on.
const PROGRAM: &str = r#"
sleep "$PAUSE_S"
set -- $ACTS
while [ $# -gt 1 ] && [ "$HASTY_ATTEMPT" -gt "$((seen += 1))" ]; do shift; done
echo "program $TAG"
case $1 in
done)
    if (set -C; : >"$EFFECTS/$HASTY_RUN_ID") 2>/dev/null; then first=true; else first=false; fi
    printf '{"at":%s,"worker":"program","event":"effect","run":"%s","attempt":%s,"first":%s}\n' \
        "$(date +%s%3N)" "$HASTY_RUN_ID" "$HASTY_ATTEMPT" "$first" >>"$HISTORY/program-$HASTY_RUN_ID-$HASTY_ATTEMPT.jsonl"
    echo "effect of attempt $HASTY_ATTEMPT" >&2
    sleep "$LINGER_S" ;;
retry) exit 7 ;;
hang) sleep 1000 & wait ;;
esac
"#;

/// Makes some that do what a program can do into programs.
pub(super) fn make_programs(rng: &mut StdRng, scripts: &mut [Script]) {
    for script in scripts {
        let is_able = script.acts.iter().all(|act| matches!(act, Act::Done | Act::Retry | Act::Hang));
        script.is_program =
            rng.random_bool(0.05) && is_able && script.filling == 0 && script.result_bytes.is_none();
    }
}

/// The payload; the histories are in `folder`, the stack's own.
pub(super) fn payload(script: &Script, folder: &str) -> Value {
    let acts: Vec<&str> =
        script.acts.iter().map(|act| if *act == Act::Done { "done" } else { other(*act) }).collect();
    let history = format!("{folder}/{HISTORIES}");
    json!({
        "program": "sh", "args": ["-c", PROGRAM],
        "env": {
            MARK: folder, "TAG": script.tag.to_string(), "ACTS": acts.join(" "), "PAUSE_S": script.pause_s.to_string(),
            "LINGER_S": script.linger_s.to_string(), "EFFECTS": format!("{history}/{EFFECTS}"), "HISTORY": history,
        },
    })
}

fn other(act: Act) -> &'static str {
    if act == Act::Retry { "retry" } else { "hang" }
}

/// What is wrong with the result of a program that has finished, by its attempt.
pub(super) fn wrong_result(script: &Script, attempt: u32, result: Option<&str>) -> Option<String> {
    let result: Value = result.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let wanted = [format!("program {}\n", script.tag), format!("effect of attempt {attempt}\n")];
    let is = ["stdout", "stderr"].map(|name| result[name]["text"].as_str().unwrap_or_default().to_owned());
    (is != wanted || result["exit_code"] != 0)
        .then(|| format!("is finished with {result}, and was to say {wanted:?}"))
}

/// The processes of this stack's programs that run.
pub(super) fn running(folder: &str) -> Vec<u32> {
    let mark = format!("{MARK}={folder}");
    let is_one = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::mix::scripts;
    use super::*;

    /// Runs the program as a worker does, and says how it ended and what was said.
    fn run(acts: &[Act], attempt: u32, folder: &str) -> (Option<i32>, String, String) {
        let mut script = scripts(1, 1).remove(0);
        script.acts = acts.to_vec();
        let payload = payload(&script, folder);
        let mut command = Command::new("sh");
        command.args(["-c", PROGRAM]).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HASTY_RUN_ID", "a.1").env("HASTY_ATTEMPT", attempt.to_string());
        for (name, value) in payload["env"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    #[test]
    fn a_program_does_what_its_attempt_is_to_do_and_keeps_its_effect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        std::fs::create_dir_all(folder.path().join(HISTORIES).join(EFFECTS)).unwrap();
        let acts = [Act::Retry, Act::Retry, Act::Done];
        assert_eq!(run(&acts, 1, path), (Some(7), "program 0\n".into(), String::new()));
        assert_eq!(run(&acts, 2, path).0, Some(7));
        assert_eq!(run(&acts, 3, path), (Some(0), "program 0\n".into(), "effect of attempt 3\n".into()));
        assert_eq!(run(&acts, 9, path).2, "effect of attempt 9\n");
        let line = |attempt: u32| {
            let file = folder.path().join(HISTORIES).join(format!("program-a.1-{attempt}.jsonl"));
            serde_json::from_str::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap()
        };
        assert_eq!((&line(3)["first"], &line(9)["first"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn a_result_is_that_of_its_program_and_attempt() {
        let script = scripts(1, 1).remove(0);
        let result = |out: &str, err: &str| {
            json!({ "exit_code": 0, "stdout": { "text": out }, "stderr": { "text": err } }).to_string()
        };
        let right = result("program 0\n", "effect of attempt 2\n");
        assert_eq!(wrong_result(&script, 2, Some(&right)), None);
        assert!(wrong_result(&script, 1, Some(&right)).is_some());
        assert!(wrong_result(&script, 2, Some(&result("program 1\n", "effect of attempt 2\n"))).is_some());
        assert!(wrong_result(&script, 2, None).is_some());
    }
}
