//! The largest that a handler may answer, after as many failures as a run remembers: all of it reaches the client.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use e2e::{App, JobView, NewJob, Status};
use serde_json::json;
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(60);
const LARGEST: usize = 512 << 10;
/// As many as may be charged.
const ATTEMPTS: u32 = 100;

#[tokio::test]
async fn the_largest_result_after_a_hundred_failures_is_seen_to_end() {
    let app = started().await;
    let job = app.create(&failing("done")).await;
    all_but_one_attempt_have_failed(&app, &job).await;
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, ATTEMPTS));
    assert_eq!(ended.result.unwrap().as_str().unwrap().len(), LARGEST - 2);
    errors_are_cut_and_say_so(&app, &job).await;
}

#[tokio::test]
async fn a_hundred_failures_with_the_longest_errors_are_seen_to_end() {
    let app = started().await;
    let job = app.create(&failing("fail")).await;
    all_but_one_attempt_have_failed(&app, &job).await;
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.error_code()), (Status::Failed, Some("planned")));
    assert!(ended.error.unwrap().message.ends_with("… (cut)"));
    errors_are_cut_and_say_so(&app, &job).await;
}

/// Programs that wrote all they could, and what JSON has to escape: the latest is whole, all others are there in short.
#[tokio::test]
async fn a_hundred_programs_that_wrote_all_they_could_are_seen_to_end() {
    let app = started().await;
    // JSON takes six bytes for each of them.
    let text = "\u{1}".repeat((64 << 10) / 6);
    let captured = json!({ "text": text, "bytes": text.len(), "cut": false, "not_utf8": false });
    let whole = json!({ "exit_code": 1, "stdout": captured, "stderr": captured, "duration_ms": 1 });
    let mut attempts = vec!["retry"; ATTEMPTS as usize - 1];
    attempts.push("fail");
    let payload = json!({ "attempts": attempts, "output": whole });
    let job = app.create(&NewJob::of_kind("fault").payload(payload).max_attempts(ATTEMPTS)).await;
    all_but_one_attempt_have_failed(&app, &job).await;
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.result.as_ref()), (Status::Failed, Some(&whole)));
    let attempts = app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
    let attempts = attempts["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[99]["output"]), (ATTEMPTS as usize, &whole));
    for attempt in &attempts[..99] {
        let short = attempt["output"].to_string();
        assert!(
            (3500..=4096).contains(&short.len()) && attempt["output"]["stdout"]["cut"] == true,
            "{short}"
        );
    }
}

async fn started() -> App {
    let builder = Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true);
    App::start(builder.env("RETRY_BASE_S", 0.001).env("DUE_SCAN_S", 0.05).env("RELAY_SCAN_S", 0.1)).await
}

/// All its errors are in need of escaping, and much longer than any may be.
fn failing(last: &str) -> NewJob {
    let mut attempts = vec!["retry"; ATTEMPTS as usize - 1];
    attempts.push(last);
    let payload = json!({ "attempts": attempts, "error_bytes": 100_000, "result_bytes": LARGEST });
    NewJob::of_kind("fault").payload(payload).max_attempts(ATTEMPTS)
}

/// Nobody waits for the pauses between them, which grow: each is made to be due at once.
async fn all_but_one_attempt_have_failed(app: &App, job: &JobView) {
    let client = mongodb::Client::with_uri_str(app.stack().job_mongo().url()).await.unwrap();
    let runs = client.database("hasty_jobs").collection::<Document>("runs");
    let id = format!("{}.1", job.id);
    poll::until("the last attempt", SOON, || async {
        let past = DateTime::from_millis(DateTime::now().timestamp_millis() - 1000);
        // Not while it still has to be announced, which its outbox mark says.
        let waits = doc! { "_id": &id, "status": "queued", "next_action": "run" };
        runs.update_one(waits, doc! { "$set": { "next_at": past, "next_action_at": past } }).await.unwrap();
        let last = doc! { "_id": &id, "attempt": ATTEMPTS };
        runs.find_one(last).projection(doc! { "_id": 1 }).await.unwrap().is_some()
    })
    .await
    .unwrap();
}

async fn errors_are_cut_and_say_so(app: &App, job: &JobView) {
    let attempts = app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
    let attempts = attempts["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), ATTEMPTS as usize);
    for attempt in &attempts[..ATTEMPTS as usize - 1] {
        let message = attempt["error"]["message"].as_str().unwrap();
        assert!(message.starts_with('\u{1}') && message.ends_with("… (cut)"));
        assert!(serde_json::to_string(message).unwrap().len() <= 4096 + 2);
    }
}
