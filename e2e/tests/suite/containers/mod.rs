//! Jobs of kind `container`, on this machine's engine. Where none answers, the tests say that they are left out.

mod engine;
mod left_behind;

use std::time::Duration;

use e2e::{App, JobView, NewJob, Shared, Status};
use serde_json::{Value, json};
use stack::{Builder, Stack, poll};

use self::engine::{Engine, IMAGE};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared = Shared::new(|| stack().workers(1));

fn stack() -> Builder {
    let address =
        std::env::var("CONTAINER_ENGINE").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    Stack::builder()
        .api(1)
        .env("CONTAINER_ENGINE", address)
        .env("CONTAINER_IMAGES", "debian:bookworm-slim,localhost/**")
        .env("RETRY_BASE_S", 0.001)
        .env("LEASE_S", 2)
        .env("DUE_SCAN_S", 0.2)
}

fn container(payload: Value) -> NewJob {
    NewJob::of_kind("container").payload(payload)
}

fn script(lines: &[&str]) -> NewJob {
    container(json!({ "image": IMAGE, "script": lines }))
}

fn text<'a>(job: &'a JobView, of: &str) -> &'a str {
    let text = job.result.as_ref().and_then(|result| result[of]["text"].as_str());
    text.unwrap_or_else(|| panic!("{job:?}"))
}

#[tokio::test]
async fn a_container_runs_and_both_outputs_are_the_result() {
    let Some(engine) = Engine::find("a container runs").await else { return };
    let app = STACK.app().await;
    let command = container(json!({
        "image": IMAGE, "command": ["sh", "-c", "echo \"$A $HASTY_RUN_ID\"; echo no >&2"], "env": { "A": "ü" },
    }));
    let job = app.ended(&app.create(&command).await).await;
    let captured = |text: &str| json!({ "text": text, "bytes": text.len(), "cut": false, "not_utf8": false });
    let result = job.result.clone().unwrap_or_default();
    assert_eq!((job.status, &result["exit_code"]), (Status::Finished, &json!(0)), "{job:?}");
    assert_eq!(result["stdout"], captured(&format!("ü {}.1\n", job.id)));
    assert_eq!(result["stderr"], captured("no\n"));
    assert!(result["duration_ms"].is_u64());
    engine.has_nothing_of(&[&job.id]).await;
}

#[tokio::test]
async fn a_container_can_do_nothing_to_its_machine() {
    let Some(_) = Engine::find("a container can do nothing to its machine").await else { return };
    let app = STACK.app().await;
    let look = [
        "grep -E '^(NoNewPrivs|CapEff|CapBnd):' /proc/self/status | tr -d '\\t '",
        "touch /new 2>/dev/null || echo root is read-only",
        "pwd && touch /tmp/new && echo scratch",
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '",
        "ls /dev | grep -E '^(disk|mem|kmsg|sd|vd|nvme)' || echo no devices",
    ];
    let job = app.ended(&app.create(&script(&look)).await).await;
    let seen: Vec<&str> = text(&job, "stdout").lines().collect();
    let none = "0000000000000000";
    let expected = [
        &format!("CapEff:{none}"),
        &format!("CapBnd:{none}"),
        "NoNewPrivs:1",
        "root is read-only",
        "/tmp",
        "scratch",
        "lo",
        "no devices",
    ];
    assert_eq!(seen, expected, "{job:?}");
}

#[tokio::test]
async fn what_goes_wrong_has_a_code_of_its_own() {
    let Some(engine) = Engine::find("what goes wrong has a code of its own").await else { return };
    let app = STACK.app().await;
    let with = |field: &str, value: Value| {
        let mut payload = json!({ "image": IMAGE, "command": ["true"] });
        payload[field] = value;
        container(payload).max_attempts(2)
    };
    let fork = "for i in $(seq 30); do sleep 5 & done; wait";
    let jobs = [
        (script(&["echo said; exit 3"]).max_attempts(2), "container_exit_code", 2),
        (script(&["false", "echo not reached"]).max_attempts(1), "container_exit_code", 1),
        (
            container(
                json!({ "image": IMAGE, "memory_mb": 16, "script": ["head -c 100m /dev/zero | tail"] }),
            ),
            "container_out_of_memory",
            1,
        ),
        (
            with("image", json!("localhost/no/such:image")).with("max_attempts", 1),
            "container_image_not_fetched",
            1,
        ),
        (
            container(json!({ "image": "localhost/no-such", "pull": "never" })).max_attempts(2),
            "container_image_missing",
            2,
        ),
        (with("image", json!("alpine")), "container_image_not_allowed", 1),
        (with("network", json!("bridge")), "container_network_not_allowed", 1),
        (with("working_dir", json!("/etc/passwd")).max_attempts(1), "container_not_started", 1),
        (
            container(json!({ "image": IMAGE, "max_processes": 8, "script": [fork] })).max_attempts(1),
            "container_exit_code",
            1,
        ),
    ];
    for (job, code, attempt) in jobs {
        let job = app.ended(&app.create(&job).await).await;
        assert_eq!(
            (job.status, job.error_code(), job.attempt),
            (Status::Failed, Some(code), attempt),
            "{job:?}"
        );
        if attempt == 2 && code == "container_exit_code" {
            assert_eq!(text(&job, "stdout"), "said\n");
        }
        engine.has_nothing_of(&[&job.id]).await;
    }
}

#[tokio::test]
async fn a_container_over_its_time_is_told_and_then_killed() {
    let Some(engine) = Engine::find("a container over its time").await else { return };
    let app = STACK.app().await;
    let polite = script(&["trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.1; done"]);
    let deaf = script(&["trap '' TERM; echo begun; while :; do sleep 0.1; done"]);
    let jobs = [app.create(&polite.timeout_s(2)).await, app.create(&deaf.timeout_s(2)).await];
    let ended = app.all_ended(&jobs).await;
    for (job, said) in ended.iter().zip(["begun\ntold\n", "begun\n"]) {
        assert_eq!((job.status, job.reason.as_deref()), (Status::Cancelled, Some("timeout")), "{job:?}");
        assert_eq!(text(job, "stdout"), said);
    }
    engine.has_nothing_of(&[&jobs[0].id, &jobs[1].id]).await;
}

#[tokio::test]
async fn however_much_it_writes_the_end_is_kept_and_little_of_the_worker() {
    let Some(engine) = Engine::find("however much it writes").await else { return };
    let app = App::start(stack().workers(1)).await;
    let flood = script(&["head -c 300m /dev/zero | tr '\\0' x", "echo; echo the end"]).timeout_s(120);
    let job = app.ended_within(&app.create(&flood).await, 3 * SOON).await;
    let stdout = &job.result.as_ref().unwrap()["stdout"];
    assert_eq!((&stdout["bytes"], &stdout["cut"]), (&json!(300 * 1024 * 1024 + 9), &json!(true)), "{job:?}");
    assert!(text(&job, "stdout").ends_with("xx\nthe end\n"));
    let pid = app.stack().worker(0).pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most_kib: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most_kib < 300 * 1024, "{most_kib} KiB");
    println!("worker: at most {most_kib} KiB");
    engine.has_nothing_of(&[&job.id]).await;
}

#[tokio::test]
async fn its_lines_are_its_log_while_it_runs_and_a_cancel_stops_it() {
    let Some(engine) = Engine::find("its lines are its log").await else { return };
    let app = STACK.app().await;
    let job = app.create(&script(&["echo begin; sleep 1000"]).timeout_s(600)).await;
    let path = format!("/v1/jobs/{}/logs", job.id);
    let shown = || async {
        let log = app.get(&path).await;
        if log.status == 200 && log.json()["lines"][0]["text"] == "begin" {
            Ok(())
        } else {
            Err(format!("{log:?}"))
        }
    };
    poll::until("its line", SOON, shown).await.unwrap();
    app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await;
    assert_eq!(app.ended(&job).await.status, Status::Cancelled);
    engine.has_nothing_of(&[&job.id]).await;
}

/// No engine is needed for that.
#[tokio::test]
async fn where_the_engine_is_away_a_job_waits_uncharged_and_fails_in_the_end() {
    let builder =
        stack().workers(1).env("CONTAINER_ENGINE", "unix:///no/such/engine").env("UNKNOWN_KIND_WAIT_S", 3);
    let app = App::start(builder).await;
    let job = app.ended(&app.create(&script(&["true"]).max_attempts(1)).await).await;
    assert_eq!(
        (job.status, job.error_code()),
        (Status::Failed, Some("container_engine_unavailable")),
        "{job:?}"
    );
    assert!(job.attempt > 1, "{job:?}");
    let ledger = app.ledger(&job).await;
    let (last, before) = ledger.attempts.split_last().unwrap();
    assert!(last.charged && before.iter().all(|attempt| !attempt.charged && attempt.outcome == "released"));
}

#[tokio::test]
async fn a_schedule_of_the_older_scheduler_runs_and_its_logs_come_back() {
    let Some(_) = Engine::find("a schedule of the older scheduler").await else { return };
    let app = STACK.app().await;
    let at = time::OffsetDateTime::now_utc() + time::Duration::minutes(1);
    let moment = json!([at.year(), u8::from(at.month()), at.day(), at.hour(), at.minute()]);
    let text = json!({ "docker-image": IMAGE, "cron": moment, "command": "echo out; echo err >&2; exit 7" });
    let list = json!({ "docker-image": IMAGE, "cron": moment, "command": ["echo", "a b"] });
    let mut paths = Vec::new();
    for wanted in [text, list] {
        let created = app.post("/api/v1/schedule", &wanted).await.expect(201).json();
        paths.push(format!("/api/v1/schedule/{}", created["_id"].as_str().unwrap()));
    }
    let expected = [
        json!({ "stdout": "out\n", "stderr": "err\n", "exit-code": 7 }),
        json!({ "stdout": "a b\n", "stderr": "", "exit-code": 0 }),
    ];
    for (path, logs) in paths.iter().zip(expected) {
        let done = || async {
            let schedule = app.get(path).await.expect(200).json();
            if schedule["status"] == "completed" { Ok(schedule) } else { Err(schedule.to_string()) }
        };
        let schedule = poll::until("it to have run", 3 * SOON, done).await.unwrap();
        assert_eq!(schedule["logs"], logs, "{schedule}");
    }
}
