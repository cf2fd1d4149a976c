//! Jobs of kind `command`: what programs get and give, and that nothing of them is left, whoever dies.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use e2e::{App, JobView, NewJob, Shared, Status};
use serde_json::{Value, json};
use stack::{Builder, Node, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared = Shared::new(|| stack().workers(1));

fn stack() -> Builder {
    Stack::builder()
        .api(1)
        .env("COMMAND_ALLOW", "sh,cat,/bin/echo")
        .env("RETRY_BASE_S", 0.001)
        .env("LEASE_S", 2)
}

/// A shell script; its processes have a variable of their own in their environments.
struct Script {
    mark: String,
    folder: PathBuf,
}

impl Script {
    fn new() -> Self {
        let mark = uuid::Uuid::new_v4().to_string();
        let folder = std::env::temp_dir().join(&mark);
        std::fs::create_dir(&folder).unwrap();
        Self { mark, folder }
    }

    fn job(&self, script: &str) -> NewJob {
        let payload = json!({
            "program": "sh", "args": ["-c", script], "env": { "TEST": self.mark }, "working_dir": self.folder,
        });
        NewJob::of_kind("command").payload(payload)
    }

    async fn reaches(&self, file: &str) {
        let there = || async { self.folder.join(file).exists() };
        poll::until(&format!("the file {file}"), SOON, there).await.unwrap();
    }

    /// How many processes of it there are.
    fn alive(&self) -> usize {
        let mark = format!("TEST={}", self.mark);
        let is_one = |folder: &Path| {
            let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        };
        std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| is_one(&entry.path())).count()
    }

    async fn is_gone(&self) {
        poll::until("its processes to be gone", SOON, || async { self.alive() == 0 }).await.unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn command(payload: Value) -> NewJob {
    NewJob::of_kind("command").payload(payload)
}

fn stdout(job: &JobView) -> &str {
    let text = job.result.as_ref().and_then(|result| result["stdout"]["text"].as_str());
    text.unwrap_or_else(|| panic!("{job:?}"))
}

async fn attempts(app: &App, job: &JobView) -> Vec<Value> {
    let attempts = app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
    attempts["attempts"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_program_runs_in_a_clean_environment_and_its_output_is_the_result() {
    let app = STACK.app().await;
    let echo = json!({ "program": "/bin/echo", "args": ["-n", "ü", "$A"] });
    let job = app.ended(&app.create(&command(echo)).await).await;
    let captured = |text: &str| json!({ "text": text, "bytes": text.len(), "cut": false, "not_utf8": false });
    let result = job.result.clone().unwrap();
    assert_eq!((job.status, &result["exit_code"]), (Status::Finished, &json!(0)), "{job:?}");
    assert_eq!((&result["stdout"], &result["stderr"]), (&captured("ü $A"), &captured("")));
    assert!(result["duration_ms"].is_u64());

    let payload =
        json!({ "program": "sh", "args": ["-c", "env; cat"], "env": { "A": "1" }, "stdin": "read" });
    let job = app.ended(&app.create(&command(payload)).await).await;
    let mut names: Vec<&str> =
        stdout(&job).lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // The shell adds the last ones.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    let own = [
        "HASTY_ATTEMPT",
        "HASTY_JOB_ID",
        "HASTY_RUN",
        "HASTY_RUN_ID",
        "HASTY_SUPERVISOR",
        "PATH",
        "TRACEPARENT",
    ];
    assert_eq!(names[1..], own, "{job:?}");
    let id = &job.id;
    for line in [format!("HASTY_JOB_ID={id}"), format!("HASTY_RUN_ID={id}.1"), "HASTY_RUN=1".to_owned()] {
        assert!(stdout(&job).lines().any(|own| own == line), "{line}: {job:?}");
    }
    assert!(stdout(&job).ends_with("read"));
}

#[tokio::test]
async fn only_what_the_operator_allows_is_run() {
    let app = STACK.app().await;
    for program in ["/bin/sh", "echo", "/bin/../bin/echo", "env"] {
        let job = app.ended(&app.create(&command(json!({ "program": program }))).await).await;
        let seen = (job.status, job.attempt, job.error_code());
        assert_eq!(seen, (Status::Failed, 1, Some("command_not_allowed")));
    }
    let nowhere = json!({ "program": "cat", "working_dir": "/no/such/folder" });
    let job = app.ended(&app.create(&command(nowhere)).await).await;
    assert_eq!((job.status, job.error_code()), (Status::Failed, Some("command_not_started")));
    let wrong = command(json!({ "program": "bin/sh", "args": 1 }));
    let wrong = app.try_create(&wrong).await.expect(422).problem();
    assert_eq!(wrong.fields(), ["payload.args"]);
}

#[tokio::test]
async fn a_worker_that_allows_nothing_gives_commands_back() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let job = app.create(&command(json!({ "program": "sh" }))).await;
    let waits = || async {
        let job = app.job(&job).await;
        if job.waits_for.is_some() { Ok(job) } else { Err(format!("{job:?}")) }
    };
    let job = poll::until("it to wait", SOON, waits).await.unwrap();
    assert_eq!(job.waits_for.unwrap().code, "unknown_kind");
}

#[tokio::test]
async fn a_program_that_fails_is_tried_again_and_every_attempt_shows_its_output() {
    let app = STACK.app().await;
    let script = Script::new();
    let fails =
        script.job("echo attempt $HASTY_ATTEMPT >&2; [ $HASTY_ATTEMPT -gt 2 ] || exit $HASTY_ATTEMPT");
    let job = app.ended(&app.create(&fails).await).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 3), "{job:?}");
    let attempts = attempts(&app, &job).await;
    for index in [0, 1] {
        let (error, output) = (&attempts[index]["error"], &attempts[index]["output"]);
        let seen = (&error["code"], &output["exit_code"]);
        assert_eq!(seen, (&json!("command_exit_code"), &json!(index + 1)), "{attempts:?}");
        assert_eq!(output["stderr"]["text"], format!("attempt {}\n", index + 1), "{attempts:?}");
    }
    let kill = app.ended(&app.create(&script.job("kill -9 $$").max_attempts(1)).await).await;
    let seen = (kill.error_code(), &kill.result.as_ref().unwrap()["signal"]);
    assert_eq!(seen, (Some("command_signal"), &json!(9)));
}

#[tokio::test]
async fn what_is_cancelled_or_over_its_time_shows_what_it_wrote_and_leaves_nothing() {
    let app = STACK.app().await;
    let (asked, over) = (Script::new(), Script::new());
    let script = "echo so far; (setsid sleep 1000 &) ; touch ready; sleep 1000";
    let asked_job = app.create(&asked.job(script).timeout_s(600)).await;
    let over_job = app.create(&over.job(script).timeout_s(3)).await;
    asked.reaches("ready").await;
    app.post(&format!("/v1/jobs/{}/cancel", asked_job.id), &json!({})).await;
    for (script, job, reason) in [(asked, asked_job, "requested"), (over, over_job, "timeout")] {
        let job = app.ended(&job).await;
        assert_eq!((job.status, job.reason.as_deref()), (Status::Cancelled, Some(reason)));
        assert_eq!(stdout(&job), "so far\n");
        assert_eq!(script.alive(), 0, "nothing is left when the end is told");
    }
}

#[tokio::test]
async fn a_program_that_is_too_much_fails_at_once() {
    let app = STACK.app().await;
    let script = Script::new();
    // It is a few hundred processes at most.
    let many = "i=0; while [ $i -lt 200 ]; do sleep 100 & i=$((i + 1)); done; wait";
    let job = app.ended(&app.create(&script.job(many)).await).await;
    assert_eq!((job.status, job.attempt, job.error_code()), (Status::Failed, 1, Some("command_processes")));
    assert_eq!(script.alive(), 0);
}

/// The memory of a process, in bytes.
fn memory(node: &Node, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_worker_stays_small_whatever_its_programs_write() {
    let app = App::start(stack().workers(1)).await;
    let script = Script::new();
    app.ended(&app.create(&script.job("echo")).await).await;
    let before = memory(app.stack().worker(0), "VmRSS:");
    let writes = script.job("dd if=/dev/zero bs=1M count=1024 2>/dev/null; exit 0");
    let jobs = app.create_many(&writes, 4).await;
    for job in app.all_ended(&jobs).await {
        let stdout = job.result.as_ref().unwrap()["stdout"].clone();
        assert_eq!((&stdout["bytes"], &stdout["cut"]), (&json!(1 << 30), &json!(true)));
    }
    let most = memory(app.stack().worker(0), "VmHWM:");
    assert!(most < before + (32 << 20), "{before} before, {most} at most");
}

#[tokio::test]
async fn where_a_worker_is_killed_nothing_is_left_and_another_one_runs_it() {
    let app = App::start(stack().workers(2)).await;
    let script = Script::new();
    let once = "trap '' TERM; (setsid sleep 1000 &) ; touch $HASTY_ATTEMPT; \
                [ $HASTY_ATTEMPT -gt 1 ] && exit 0; while :; do sleep 0.1; done";
    let job = app.create(&script.job(once).timeout_s(600)).await;
    script.reaches("1").await;
    let job = app.running(&job).await;
    app.stack().worker(app.worker_of(&job)).kill().await.unwrap();
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2), "{ended:?}");
    script.is_gone().await;
}

/// The worst: nobody is left who could stop what the program has started.
#[tokio::test]
async fn where_worker_and_supervisor_are_killed_the_next_worker_stops_what_is_left() {
    let app = App::start(stack().workers(1)).await;
    let script = Script::new();
    let once = "[ $HASTY_ATTEMPT -gt 1 ] && exit 0; echo $HASTY_SUPERVISOR > supervisor; \
                setsid sleep 1000 & touch ready; exec sleep 1000";
    let job = app.create(&script.job(once).timeout_s(600)).await;
    script.reaches("ready").await;
    let name = std::fs::read_to_string(script.folder.join("supervisor")).unwrap();
    let supervisor: i32 = name.split_once(':').unwrap().0.parse().unwrap();
    let worker = app.stack().worker(0);
    // It stands still, so that it does not notice that its worker dies.
    let kill =
        |signal: &str| std::process::Command::new("kill").args([signal, &supervisor.to_string()]).status();
    assert!(kill("-STOP").unwrap().success());
    worker.kill().await.unwrap();
    assert!(kill("-KILL").unwrap().success());
    // Another worker of this machine that starts just then stops the rest of it too.
    poll::until("the program itself to be gone", SOON, || async { script.alive() <= 1 }).await.unwrap();
    worker.start().await.unwrap();
    script.is_gone().await;
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2), "{ended:?}");
}

/// `COMMANDS=2000` is what the documentation tells of.
#[tokio::test]
async fn while_workers_are_killed_each_output_is_right_and_nothing_is_left() {
    let count: usize = std::env::var("COMMANDS").map_or(200, |count| count.parse().unwrap());
    let app = App::start(stack().workers(3).env("WORKER_CONCURRENCY", 8).env("DUE_SCAN_S", 0.2)).await;
    let script = Script::new();
    // A process that has forked away is there until the end.
    let work =
        "(setsid sleep 1000 &) ; sleep 0.1 & wait $!; echo $HASTY_JOB_ID; echo $HASTY_ATTEMPT >&2; exit 0";
    let job = script.job(work).max_attempts(100);
    let mut created = Vec::new();
    while created.len() < count {
        created.extend(app.create_many(&job, 100.min(count - created.len())).await);
    }
    let jobs = app.jobs().await;
    // Each is killed in the middle of its work, again and again.
    let (kills, mut most_memory) = (count / 20, 0);
    for kill in 0..kills {
        let enough = u64::try_from(kill * count / kills).unwrap();
        let ended = || async {
            let ended = jobs.count_documents(bson::doc! { "status": "finished" }).await.unwrap();
            if ended >= enough { Ok(()) } else { Err(format!("{ended} of {enough}")) }
        };
        poll::until("commands to end", 5 * SOON, ended).await.unwrap();
        let worker = app.stack().worker(rand::random_range(0..3));
        most_memory = most_memory.max(memory(worker, "VmHWM:"));
        worker.kill().await.unwrap();
        worker.start().await.unwrap();
    }
    let mut tried_again = 0;
    let mut ended = Vec::new();
    for some in created.chunks(50) {
        ended.extend(app.all_ended(some).await);
    }
    for job in ended {
        assert_eq!(
            (job.status, stdout(&job)),
            (Status::Finished, format!("{}\n", job.id).as_str()),
            "{job:?}"
        );
        let result = job.result.as_ref().unwrap();
        assert_eq!(result["stderr"]["text"], format!("{}\n", job.attempt), "{job:?}");
        tried_again += usize::from(job.attempt > 1);
    }
    script.is_gone().await;
    println!(
        "{count} commands, {kills} kills, {tried_again} tried again, worker at most {most_memory} bytes"
    );
    assert!(tried_again > 0, "no worker was killed in the middle of anything");
}
