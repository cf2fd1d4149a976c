//! What becomes of attempts that go wrong.

use e2e::{NewJob, Shared, Status};
use serde_json::json;
use stack::Stack;

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
async fn a_kind_that_no_worker_knows_is_tried_again_and_fails_at_the_end() {
    let app = STACK.app().await;
    let created = app.create(&NewJob::of_kind("transcode").max_attempts(2)).await;

    let ended = app.ended(&created).await;
    assert_eq!((ended.status, ended.attempt, ended.error_code()), (Status::Failed, 2, Some("unknown_kind")));
    assert_eq!(app.ledger(&created).await.outcomes(), ["failed", "failed"]);
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
    let patience = std::time::Duration::from_secs(60);
    let waiting = stack::poll::until("the first attempt to fail", patience, look).await.unwrap();
    assert_eq!((waiting.status, waiting.ended_at), (Status::Queued, None));
    assert!(waiting.next_at >= waiting.started_at, "{waiting:?}");
}
