//! What attempts say while they are made: how far they are, and their logs, through any replica.

use std::{path::PathBuf, time::Duration};

use e2e::{App, Client, JobView, NewJob, Status};
use serde_json::{Value, json};
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(60);

/// Attempts wait for it.
struct Gate(PathBuf);

impl Gate {
    fn new() -> Self {
        Self(std::env::temp_dir().join(uuid::Uuid::new_v4().to_string()))
    }

    fn open(&self) {
        std::fs::write(&self.0, "").unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn started() -> App {
    let builder = Stack::builder().api(2).workers(2);
    App::start(builder.env("WORKER_FAULTS", true).env("COMMAND_ALLOW", "sh").env("RETRY_BASE_S", 0.001)).await
}

async fn texts(client: &Client, job: &JobView, query: &str) -> Vec<(String, String)> {
    let logs = client.get(&format!("/v1/jobs/{}/logs{query}", job.id)).await.expect(200).json();
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let lines = logs["lines"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["at"].is_string()), "{logs}");
    lines.iter().map(|line| (text(line, "from"), text(line, "text"))).collect()
}

fn line(from: &str, text: &str) -> (String, String) {
    (from.to_owned(), text.to_owned())
}

#[tokio::test]
async fn each_replica_shows_how_far_a_job_is_while_it_runs() {
    let (app, gate) = (started().await, Gate::new());
    let payload = json!({ "attempts": ["done"], "percent": 42.5, "gate": gate.0 });
    let job = app.create(&NewJob::of_kind("fault").payload(payload).timeout_s(600)).await;
    let plain = app.running(&app.create(&NewJob::sleep(600.0).timeout_s(3600)).await).await;
    let path = format!("/v1/jobs/{}", job.id);
    for replica in [app.replica(0), app.replica(1)] {
        let told = || async {
            let job = replica.get(&path).await.expect(200).json();
            if job["progress"].is_object() { Ok(job["progress"].clone()) } else { Err(job.to_string()) }
        };
        let progress = poll::until("the progress", SOON, told).await.unwrap();
        assert_eq!((&progress["percent"], &progress["message"]), (&json!(42.5), &json!("as told")));
        assert!(progress["at"].is_string(), "{progress}");
    }
    assert!(app.get(&format!("/v1/jobs/{}", plain.id)).await.json().get("progress").is_none());
    gate.open();
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    assert!(app.get(&path).await.json().get("progress").is_none(), "only while it runs");
    app.post(&format!("/v1/jobs/{}/cancel", plain.id), &json!({})).await;
}

#[tokio::test]
async fn each_replica_shows_the_log_of_a_job_while_it_runs() {
    let (app, gate) = (started().await, Gate::new());
    let payload = json!({ "attempts": ["done"], "log": ["one", "two", "three"], "gate": gate.0 });
    let job = app.create(&NewJob::of_kind("fault").payload(payload).timeout_s(600)).await;
    app.running(&job).await;
    for replica in [app.replica(0), app.replica(1)] {
        let all = ["one", "two", "three"].map(|text| line("log", text));
        assert_eq!(texts(&replica, &job, "").await, all);
        assert_eq!(texts(&replica, &job, "?tail=1").await, all[2..]);
    }
    for query in ["?tail=0", "?tail=1001", "?tail=x"] {
        let wrong = app.get(&format!("/v1/jobs/{}/logs{query}", job.id)).await.expect(400).problem();
        assert_eq!(wrong.fields(), ["tail"]);
    }
    app.get("/v1/jobs/0191d9ab-7d2a-7b3c-8d4e-5f60718293a4/logs").await.expect(404);

    // Its worker stands still.
    let worker = app.worker_of(&app.job(&job).await);
    assert!(app.stack().worker(worker).pause());
    app.stack().worker(worker).paused().await.unwrap();
    let silent = app.get(&format!("/v1/jobs/{}/logs", job.id)).await.expect(503).problem();
    assert_eq!(silent.code, "worker_silent");
    assert!(app.stack().worker(worker).resume());
    gate.open();
    app.ended(&job).await;
    for replica in [app.replica(0), app.replica(1)] {
        assert_eq!(texts(&replica, &job, "").await, ["one", "two", "three"].map(|text| line("log", text)));
        assert_eq!(texts(&replica, &job, "?tail=1").await, [line("log", "three")]);
    }
}

#[tokio::test]
async fn after_each_attempt_its_last_lines_are_kept_within_four_kib() {
    let app = started().await;
    let lines: Vec<String> = (0..200).map(|number| format!("line {number}")).collect();
    let payload = json!({ "attempts": ["retry", "done"], "log": lines });
    let job = app.create(&NewJob::of_kind("fault").payload(payload)).await;
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2), "{ended:?}");
    let kept = texts(&app, &job, "?tail=1000").await;
    assert!((40..60).contains(&kept.len()), "{kept:?}");
    let all: Vec<_> = lines.iter().map(|text| line("log", text)).collect();
    assert_eq!(kept, all[200 - kept.len()..]);
}

#[tokio::test]
async fn the_lines_of_a_program_are_its_log_while_it_runs_and_after() {
    let (app, gate) = (started().await, Gate::new());
    let script = format!(
        "echo begin; echo careful >&2; printf 'open'; while ! test -e {}; do sleep 0.05; done; echo ' end'",
        gate.0.display()
    );
    let payload = json!({ "program": "sh", "args": ["-c", script] });
    let job = app.create(&NewJob::of_kind("command").payload(payload).timeout_s(600)).await;
    let written = || async {
        app.running(&job).await;
        let mut lines = texts(&app, &job, "").await;
        lines.sort();
        if lines == [line("stderr", "careful"), line("stdout", "begin")] {
            Ok(())
        } else {
            Err(format!("{lines:?}"))
        }
    };
    poll::until("the lines", SOON, written).await.unwrap();
    gate.open();
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    let all = [line("stdout", "begin"), line("stdout", "open end"), line("stderr", "careful")];
    for replica in [app.replica(0), app.replica(1)] {
        assert_eq!(texts(&replica, &job, "?tail=100").await, all);
    }
}
