//! What a handler gave besides an error: the latest attempt's is shown whole, earlier ones in short.

use std::time::Duration;

use e2e::{App, JobView, NewJob, Shared, Status};
use serde_json::{Value, json};
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared = Shared::new(|| {
    Stack::builder()
        .api(1)
        .workers(1)
        .env("WORKER_FAULTS", true)
        .env("RETRY_BASE_S", 0.001)
        .env("DUE_SCAN_S", 0.05)
});

async fn outputs(app: &App, job: &JobView) -> Vec<Value> {
    let attempts = app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
    attempts["attempts"].as_array().unwrap().iter().map(|attempt| attempt["output"].clone()).collect()
}

/// What a program would have written.
fn program(text: &str) -> Value {
    let captured = |text: &str| json!({ "text": text, "bytes": text.len(), "cut": false, "not_utf8": false });
    json!({ "exit_code": 3, "stdout": captured(text), "stderr": captured(""), "duration_ms": 7 })
}

fn failing(attempts: &[&str], output: &Value) -> NewJob {
    let payload = json!({ "attempts": attempts, "output": output });
    NewJob::of_kind("fault").payload(payload).max_attempts(3)
}

/// A whole output is at most so long in short.
fn is_short(output: &Value, whole: &Value) -> bool {
    let text = |output: &Value| output["stdout"]["text"].as_str().unwrap().to_owned();
    output.to_string().len() <= 4096
        && output["stdout"]["cut"] == true
        && text(whole).ends_with(&text(output))
        && text(output).len() > 1000
}

#[tokio::test]
async fn the_latest_attempt_shows_its_output_whole_and_earlier_ones_in_short() {
    let app = STACK.app().await;
    let whole = program(&"0123456789 ".repeat(1000));
    let job = app.create(&failing(&["retry", "retry", "fail"], &whole)).await;
    let job = app.ended(&job).await;
    assert_eq!((job.status, job.attempt, job.result.as_ref()), (Status::Failed, 3, Some(&whole)));
    let shown = outputs(&app, &job).await;
    assert!(is_short(&shown[0], &whole) && is_short(&shown[1], &whole), "{shown:?}");
    assert_eq!(shown[2], whole);

    // Its next run begins anew, and that attempt is an earlier one.
    app.post(&format!("/v1/jobs/{}/retry", job.id), &json!({})).await.expect(202);
    let again = app.ended(&job).await;
    assert_eq!((again.run, again.status), (2, Status::Failed));
    let shown = outputs(&app, &job).await;
    assert_eq!((shown.len(), shown.last()), (6, Some(&whole)));
    assert!(shown[..5].iter().all(|output| is_short(output, &whole)), "{shown:?}");
}

#[tokio::test]
async fn while_a_job_waits_for_its_next_attempt_the_latest_output_is_whole() {
    let app = STACK.app().await;
    let whole = program(&"line\n".repeat(4000));
    let payload = json!({ "attempts": ["retry"], "output": whole, "after_s": 3600 });
    let job = app.create(&NewJob::of_kind("fault").payload(payload)).await;
    let waits = || async {
        let job = app.job(&job).await;
        if job.next_at.is_some() { Ok(job) } else { Err(format!("{job:?}")) }
    };
    let waiting = poll::until("it to wait", SOON, waits).await.unwrap();
    assert_eq!((waiting.status, waiting.result), (Status::Queued, None));
    assert_eq!(outputs(&app, &job).await, std::slice::from_ref(&whole));
    app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await.expect(200);
    let cancelled = app.ended(&job).await;
    assert_eq!(cancelled.status, Status::Cancelled);
    assert_eq!(outputs(&app, &job).await, [whole]);
}

#[tokio::test]
async fn what_a_finished_run_gave_is_its_result_and_earlier_attempts_are_in_short() {
    let app = STACK.app().await;
    let whole = program(&"x".repeat(30_000));
    let job = app.ended(&app.create(&failing(&["retry", "done"], &whole)).await).await;
    assert_eq!((job.status, &job.result), (Status::Finished, &Some(json!({ "attempt": 2 }))));
    let shown = outputs(&app, &job).await;
    assert!(is_short(&shown[0], &whole) && shown[1].is_null(), "{shown:?}");
}

#[tokio::test]
async fn a_job_that_is_over_its_time_shows_what_it_had() {
    let app = STACK.app().await;
    let whole = program("so far");
    let payload = json!({ "attempts": ["tidy"], "output": whole });
    let job = app.create(&NewJob::of_kind("fault").payload(payload).timeout_s(1)).await;
    let job = app.ended(&job).await;
    assert_eq!((job.status, job.reason.as_deref()), (Status::Cancelled, Some("timeout")));
    assert_eq!(job.result, Some(whole.clone()));
    assert_eq!(outputs(&app, &job).await, [whole]);
}
