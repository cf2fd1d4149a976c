//! A job's life as its client sees it: created, read, ended.

use std::time::{Duration, Instant};

use e2e::{Gate, NewJob, Shared, Status};
use serde_json::json;
use stack::Stack;
use time::OffsetDateTime;

static STACK: Shared = Shared::new(|| Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true));

#[tokio::test]
async fn a_job_is_created_read_and_ends() {
    let app = STACK.app().await;
    let asked_at = OffsetDateTime::now_utc();
    let gate = Gate::new();
    let wish = gate.job().object("order-7").priority("high").queue("default").timeout_s(700).max_attempts(3);

    let answer = app.try_create(&wish).await.expect(201);
    let created = answer.job();
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{}", created.id).as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(created.id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert_eq!((created.status, created.run, created.attempt), (Status::Queued, 1, 0));
    assert_eq!((created.kind.as_str(), created.queue.as_str()), ("fault", "default"));
    assert_eq!((created.priority.as_str(), created.object_id.as_deref()), ("high", Some("order-7")));
    assert_eq!((created.timeout_s, created.max_attempts), (700, 3));
    assert_eq!(created.payload.as_ref().unwrap()["attempts"], json!(["done"]));
    assert!((created.created_at - asked_at).abs() < Duration::from_secs(60), "{created:?}");

    let running = app.running(&created).await;
    assert_eq!((running.run, running.attempt), (1, 1));
    assert!(running.worker.is_some() && running.result.is_none() && running.ended_at.is_none());

    gate.open();
    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.run, ended.attempt), (Status::Finished, 1, 1));
    assert_eq!(ended.result, Some(json!({ "attempt": 1 })));
    assert_eq!((ended.error, ended.reason), (None, None));
    assert_eq!((ended.worker, ended.created_at), (running.worker, created.created_at));
    let (started, over) = (ended.started_at.unwrap(), ended.ended_at.unwrap());
    assert!(created.created_at <= started && started <= over);
}

#[tokio::test]
async fn what_a_client_does_not_say_has_its_default() {
    let app = STACK.app().await;
    let ended = app.ended(&app.create(&NewJob::noop()).await).await;
    assert_eq!((ended.queue.as_str(), ended.priority.as_str()), ("default", "normal"));
    assert_eq!((ended.timeout_s, ended.max_attempts, ended.object_id), (46, 5, None));
    assert_eq!((ended.status, ended.result), (Status::Finished, None));
    assert_eq!(ended.payload, Some(json!({})));
}

#[tokio::test]
async fn the_payload_comes_back_to_the_letter() {
    let app = STACK.app().await;
    let payload = r#"{"n": 1.0e2,  "big":12345678901234567890123, "s":"\u00e9","z":[ ]}"#;
    let body = format!(r#"{{"kind":"noop","payload":{payload}}}"#);
    let request = app.request(reqwest::Method::POST, "/v1/jobs");
    let created = app.send(request.header("content-type", "application/json").body(body)).await.expect(201);
    let path = created.header("location").unwrap();
    let read = app.get(&format!("{path}?wait_s=60")).await.expect(200);
    for answer in [&created, &read] {
        assert!(answer.body.contains(payload), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_read_waits_for_the_end_and_no_longer_than_told() {
    let app = STACK.app().await;
    let gate = Gate::new();
    let short = app.create(&NewJob::sleep(1.0)).await;
    let long = app.running(&app.create(&gate.job()).await).await;
    let asked = Instant::now();
    let (short, long) = tokio::join!(app.job_within(&short, 60), app.job_within(&long, 2));
    assert_eq!(short.status, Status::Finished);
    assert_eq!(long.status, Status::Running);
    assert!(asked.elapsed() >= Duration::from_secs(2), "the second read came back early");
    assert!(asked.elapsed() < Duration::from_secs(60), "a read waited for more than it was told to");
    gate.open();
}

#[tokio::test]
async fn a_job_over_its_time_is_cancelled_and_not_tried_again() {
    let app = STACK.app().await;
    let created = app.create(&NewJob::sleep(30.0).timeout_s(1)).await;

    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.reason.as_deref()), (Status::Cancelled, Some("timeout")));
    assert_eq!((ended.attempt, ended.result), (1, None));
    let took = ended.ended_at.unwrap() - ended.started_at.unwrap();
    assert!((1.0..30.0).contains(&took.as_seconds_f64()), "stopped after {took}");

    // The ledger has nothing left to do with it, so nobody ever will.
    let done = || async {
        let run = app.ledger(&created).await;
        if run.next_action.is_none() { Ok(run) } else { Err(format!("{run:?}")) }
    };
    let run = stack::poll::until("the end to be announced", Duration::from_secs(60), done).await.unwrap();
    assert_eq!((run.status, run.attempt, run.outcomes()), (Status::Cancelled, 1, vec!["cancelled"]));
}

#[tokio::test]
async fn an_unknown_job_is_not_found() {
    let app = STACK.app().await;
    for id in [uuid::Uuid::now_v7().to_string().as_str(), "nonsense", "7"] {
        let answer = app.get(&format!("/v1/jobs/{id}")).await.expect(404);
        assert_eq!(answer.problem().code, "job_not_found");
        app.get(&format!("/v1/jobs/{id}?wait_s=5")).await.expect(404);
    }
}
