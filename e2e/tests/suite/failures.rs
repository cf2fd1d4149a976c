//! What becomes of attempts that go wrong.

use std::time::Duration;

use e2e::{NewJob, Shared, Status};
use serde_json::json;
use stack::Stack;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared =
    Shared::new(|| Stack::builder().api(1).workers(2).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 0.05));

#[tokio::test]
async fn a_failed_attempt_is_tried_again_until_one_is_done() {
    let app = STACK.app().await;
    let created = app.create(&NewJob::fault(&["retry", "panic", "done"])).await;

    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 3));
    assert_eq!((ended.result, ended.error), (Some(json!({ "attempt": 3 })), None));
    let run = app.ledger(&created).await;
    assert_eq!((run.outcomes(), run.charged), (vec!["failed", "failed", "finished"], 3));
}

#[tokio::test]
async fn when_all_attempts_are_used_up_the_last_error_stays() {
    let app = STACK.app().await;
    let created = app.create(&NewJob::fault(&["panic", "retry"]).max_attempts(3)).await;

    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.attempt), (Status::Failed, 3));
    assert_eq!((ended.error_code(), &ended.result, &ended.reason), (Some("planned"), &None, &None));
    let run = app.ledger(&created).await;
    assert_eq!((run.outcomes(), run.charged), (vec!["failed"; 3], 3));
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_hurts_nobody_else() {
    let app = STACK.app().await;
    let neighbour = app.create(&NewJob::sleep(1.0)).await;
    let created = app.create(&NewJob::fault(&["panic"]).max_attempts(1)).await;

    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.error_code()), (Status::Failed, Some("panic")));
    assert_eq!(ended.error.unwrap().message, "attempt 1 was to panic");
    let neighbour = app.ended(&neighbour).await;
    assert_eq!((neighbour.status, neighbour.attempt), (Status::Finished, 1));
    assert!(app.stack().workers().iter().all(|worker| worker.is_running()));
}

#[tokio::test]
async fn a_failure_for_good_is_not_tried_again() {
    let app = STACK.app().await;
    let ended = app.ended(&app.create(&NewJob::fault(&["fail", "done"])).await).await;
    assert_eq!((ended.status, ended.attempt, ended.error_code()), (Status::Failed, 1, Some("planned")));
}

#[tokio::test]
async fn a_handler_says_when_to_try_again_and_what_it_has_all_the_same() {
    let app = STACK.app().await;
    let payload = json!({ "attempts": ["retry", "fail"], "after_s": 1.5, "output": { "log": [1] } });
    let ended = app.ended(&app.create(&NewJob::of_kind("fault").payload(payload)).await).await;
    assert_eq!((ended.status, ended.attempt, ended.error_code()), (Status::Failed, 2, Some("planned")));
    assert_eq!(ended.result, Some(json!({ "log": [1] })));
    let attempts = app.get(&format!("/v1/jobs/{}/attempts", ended.id)).await.expect(200).json();
    let time = |attempt: usize, field: &str| {
        let text = attempts["attempts"][attempt][field].as_str().unwrap();
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    };
    assert!(time(1, "started_at") - time(0, "ended_at") >= time::Duration::milliseconds(1500), "{attempts}");
}

#[tokio::test]
async fn a_kind_that_no_worker_knows_waits_uncharged_says_for_what_and_fails_when_its_time_is_over() {
    let builder = Stack::builder().api(1).workers(1).env("UNKNOWN_KIND_WAIT_S", 3).env("DUE_SCAN_S", 0.1);
    let app = e2e::App::start(builder).await;
    let created = app.create(&NewJob::of_kind("transcode").max_attempts(1)).await;
    let waits = || async {
        let job = app.job(&created).await;
        if job.waits_for.is_some() { Ok(job) } else { Err(format!("{job:?}")) }
    };
    let waits = stack::poll::until("the job to say what it waits for", SOON, waits).await.unwrap();
    assert_eq!((waits.status, waits.waits_for.unwrap().code.as_str()), (Status::Queued, "unknown_kind"));

    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.error_code()), (Status::Failed, Some("unknown_kind")));
    let run = app.ledger(&created).await;
    let (last, before) = run.attempts.split_last().expect("it was taken");
    assert!(before.len() >= 2 && before.iter().all(|attempt| !attempt.charged), "{run:?}");
    assert!(last.charged && run.charged == 1, "{run:?}");
}

#[tokio::test]
async fn a_worker_that_knows_the_kind_takes_over_what_others_gave_back() {
    let builder = Stack::builder().api(1).workers(1).env("DUE_SCAN_S", 0.1);
    let app = e2e::App::start(builder).await;
    let created = app.create(&NewJob::fault(&["done"]).max_attempts(1)).await;
    let waits = || async { app.job(&created).await.waits_for.is_some() };
    stack::poll::until("the job to be given back", SOON, waits).await.unwrap();
    let worker = app.stack().worker(0);
    worker.terminate().await.unwrap();
    worker.set_env("WORKER_FAULTS", "true");
    worker.start().await.unwrap();
    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.error, ended.waits_for), (Status::Finished, None, None));
    assert_eq!(app.ledger(&created).await.charged, 1);
}

#[tokio::test]
async fn a_handler_that_is_told_to_stop_has_its_grace_to_tidy_up() {
    let builder = Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true);
    let app = e2e::App::start(builder.env("WORKER_HISTORY_DIR", e2e::HISTORY)).await;
    let cancelled = app.running(&app.create(&NewJob::fault(&["tidy"])).await).await;
    let late = app.running(&app.create(&NewJob::fault(&["tidy"]).timeout_s(1)).await).await;
    app.post(&format!("/v1/jobs/{}/cancel", cancelled.id), &json!({})).await;
    for (job, reason) in [(&cancelled, "requested"), (&late, "timeout")] {
        let ended = app.ended(job).await;
        assert_eq!((ended.status, ended.reason.as_deref()), (Status::Cancelled, Some(reason)));
        let effect = app.stack().folder().join(format!("history/effects/{}.1", job.id));
        assert!(effect.exists(), "{reason}");
    }
}

#[tokio::test]
async fn while_a_retry_waits_the_job_says_until_when() {
    let app = e2e::App::start(
        Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 60),
    );
    let app = app.await;
    let created = app.create(&NewJob::fault(&["retry"])).await;
    let look = || async {
        let job = app.job(&created).await;
        if job.next_at.is_some() { Ok(job) } else { Err(format!("{job:?}")) }
    };
    let waiting = stack::poll::until("the first attempt to fail", SOON, look).await.unwrap();
    assert_eq!((waiting.status, waiting.ended_at), (Status::Queued, None));
    assert!(waiting.next_at >= waiting.started_at, "{waiting:?}");
}
