//! `PATCH /v1/jobs/{id}`: a job is changed while its time has not come.

use e2e::{Answer, Client, JobView, NewJob, Shared, Status};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use stack::Stack;

use super::{fsck_is_clean, tomorrow};

static STACK: Shared =
    Shared::new(|| Stack::builder().api(2).workers(1).worker_env(0, "WORKER_QUEUES", "default,other"));

pub(super) async fn change(client: &Client, job: &JobView, change: &Value) -> Answer {
    client.send(client.request(Method::PATCH, &format!("/v1/jobs/{}", job.id)).json(change)).await
}

#[tokio::test]
async fn a_job_may_be_brought_forward_and_sent_elsewhere() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::shuffle("abc").with("delay_s", 86_400)).await;
    let patch = json!({ "delay_s": 1, "queue": "other", "priority": "high", "payload": { "text": "zz" } });
    let changed = change(&app, &job, &patch).await.expect(200).job();
    assert_eq!(
        (changed.status, changed.queue.as_str(), changed.priority.as_str()),
        (Status::Scheduled, "other", "high")
    );
    assert_eq!(changed.payload, Some(json!({ "text": "zz", "pause_s": 0 })), "what is not named stays");
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.queue.as_str()), (Status::Finished, "other"));
    assert_eq!(ended.result.unwrap()["text"], "zz", "the worker has what was changed");
    assert!(ended.started_at >= ended.run_at, "it counts from the change: {:?}", ended.run_at);
}

#[tokio::test]
async fn without_a_time_it_runs_at_once() {
    let app = STACK.app().await;
    let job = app.create(&tomorrow()).await;
    let patch = app.request(Method::PATCH, &format!("/v1/jobs/{}", job.id));
    let patch = patch.header("Content-Type", "application/merge-patch+json").body(r#"{"run_at":null}"#);
    app.send(patch).await.expect(200);
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.run_at), (Status::Finished, None));
}

#[tokio::test]
async fn put_off_it_is_not_run_at_its_first_time() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::noop().with("delay_s", 2)).await;
    change(&app, &job, &json!({ "delay_s": 4 })).await.expect(200);
    // Another one is due between the two times.
    let between = app.create(&NewJob::noop().with("delay_s", 2)).await;
    app.ended(&between).await;
    let ended = app.ended(&job).await;
    assert!(ended.started_at >= ended.run_at, "{ended:?}");
}

#[tokio::test]
async fn changes_at_once_are_all_there_in_the_end() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::of_kind("own").with("delay_s", 86_400)).await;
    let replicas = [app.replica(0), app.replica(1)];
    let names: Vec<String> = (0..8).map(|number| format!("n{number}")).collect();
    let changes = names.iter().enumerate().map(|(number, name)| {
        let (replica, patch) = (&replicas[number % 2], json!({ "payload": { name: number } }));
        let job = &job;
        async move { change(replica, job, &patch).await.expect(200) }
    });
    join_all(changes).await;
    let payload = app.job(&job).await.payload.unwrap();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(payload[name], number, "{payload}");
    }
}

#[tokio::test]
async fn a_change_may_be_meant_for_one_state_alone() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::of_kind("own").with("delay_s", 86_400)).await;
    let path = format!("/v1/jobs/{}", job.id);
    let first = app.get(&path).await.expect(200).header("etag").unwrap().to_owned();
    let raise = async |tag: &str, priority: &str| {
        let request = app.request(Method::PATCH, &path).header("If-Match", tag);
        app.send(request.json(&json!({ "priority": priority }))).await
    };
    // As a proxy that compresses makes it.
    let changed = raise(&format!("W/{first}"), "high").await.expect(200);
    let second = changed.header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(raise(&first, "low").await.expect(412).problem().code, "precondition_failed");
    let shown = app.get(&path).await.expect(200);
    assert_eq!((shown.header("etag"), shown.job().priority.as_str()), (Some(second.as_str()), "high"));
    raise("*", "low").await.expect(200);
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_named() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::sleep(1.0).with("delay_s", 86_400)).await;
    for (patch, fields) in [
        (json!({ "delay_s": 1, "run_at": null }), vec!["delay_s", "run_at"]),
        (json!({ "kind": "noop" }), vec!["kind"]),
        (json!({ "queue": "NO", "priority": "high" }), vec!["queue"]),
        (json!({ "payload": { "min_s": "x" } }), vec!["payload.min_s"]),
        (json!({ "retry": { "base_s": 601 } }), vec!["retry.max_s"]),
        (json!({ "retry": { "factor": 0 } }), vec!["retry.factor"]),
    ] {
        assert_eq!(change(&app, &job, &patch).await.expect(422).problem().fields(), fields, "{patch}");
    }
    assert_eq!(app.job(&job).await, job);
}

#[tokio::test]
async fn what_is_not_scheduled_is_not_changed() {
    let app = STACK.app().await;
    let waiting = app.create(&NewJob::noop().queue("nobody")).await;
    let cancelled = app.create(&tomorrow()).await;
    app.post(&format!("/v1/jobs/{}/cancel", cancelled.id), &json!({})).await.expect(200);
    for (job, status) in [(&waiting, "queued"), (&cancelled, "cancelled")] {
        let refused = change(&app, job, &json!({ "delay_s": 60 })).await.expect(409);
        assert_eq!(
            (refused.problem().code.as_str(), refused.json()["job_status"].as_str()),
            ("not_scheduled", Some(status))
        );
    }
    let unknown =
        app.request(Method::PATCH, "/v1/jobs/01938a5e-7c00-7000-8000-000000000001").json(&json!({}));
    assert_eq!(app.send(unknown).await.expect(404).problem().code, "job_not_found");
    fsck_is_clean(&app).await;
}
