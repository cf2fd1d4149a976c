//! `start_within_s`: what has not begun in its time ends as expired, by the ledger's word. And `retry`: a job's own pauses.

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Shared, Status};
use serde_json::json;
use stack::{Stack, poll};

use super::{SOON, fsck_is_clean};

/// Left to the worker's own policy, no job would be tried again.
static STACK: Shared =
    Shared::new(|| Stack::builder().api(2).workers(1).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 600));

fn is_expired(job: &JobView) -> bool {
    (job.status, job.reason.as_deref(), job.attempt) == (Status::Cancelled, Some("expired"), 0)
}

fn id(job: &JobView) -> bson::Uuid {
    bson::Uuid::parse_str(&job.id).unwrap()
}

#[tokio::test]
async fn what_nobody_begins_in_time_ends_also_where_nobody_serves_its_queue() {
    let app = STACK.app().await;
    let at_once = app.create(&NewJob::noop().queue("nobody").with("start_within_s", 1)).await;
    let later = NewJob::noop().queue("nobody").with("start_within_s", 2).with("delay_s", 1);
    let later = app.create(&later).await;
    for (job, from, seconds) in [(&at_once, at_once.created_at, 1), (&later, later.run_at.unwrap(), 2)] {
        let ended = app.ended(job).await;
        assert!(is_expired(&ended), "{ended:?}");
        let waited = ended.ended_at.unwrap() - from;
        assert!(waited >= time::Duration::seconds(seconds), "it ended after {waited}");
        assert_eq!(app.ledger(job).await.status, Status::Cancelled);
    }
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn an_attempt_that_has_begun_is_not_touched() {
    let app = STACK.app().await;
    let gate = Gate::new();
    let job = app.create(&gate.job().with("start_within_s", 2)).await;
    app.running(&job).await;
    let looked_at =
        || async { app.stored_jobs(doc! { "_id": id(&job), "expire_at": { "$exists": false } }).await == 1 };
    poll::until("its time to be over", SOON, looked_at).await.unwrap();
    assert_eq!(app.job(&job).await.status, Status::Running);
    gate.open();
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    assert_eq!(app.stored_jobs(doc! { "_id": id(&job), "expiry_asked_at": { "$exists": true } }).await, 0);
}

#[tokio::test]
async fn the_ledger_decides_also_where_the_start_was_not_told_yet() {
    let app = STACK.app().await;
    let gate = Gate::new();
    let job = app.create(&gate.job().with("start_within_s", 3600)).await;
    app.running(&job).await;
    // As if the start had not been told, and the time were over.
    let untold =
        doc! { "status": "queued", "attempt": 0_i64, "position": 1_i64, "expire_at": bson::DateTime::now() };
    app.jobs().await.update_one(doc! { "_id": id(&job) }, doc! { "$set": untold }).await.unwrap();
    let asked = || async {
        let asked = doc! { "_id": id(&job), "expiry_asked_at": { "$exists": true }, "next_action": "check" };
        app.stored_jobs(asked).await == 1
    };
    poll::until("the ledger to be asked", SOON, asked).await.unwrap();
    let read = || async { app.stream("JOB_CONTROL").await.cached_info().state.messages == 0 };
    poll::until("the ledger to have heard of it", SOON, read).await.unwrap();
    assert_eq!(app.ledger(&job).await.status, Status::Running);
    gate.open();
    assert_eq!(app.ended(&job).await.status, Status::Finished);
}

#[tokio::test]
async fn while_no_worker_is_there_its_time_goes_on() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    app.stack().worker(0).terminate().await.unwrap();
    let job = app.create(&NewJob::noop().with("start_within_s", 1)).await;
    let over = || async {
        app.stored_jobs(doc! { "_id": id(&job), "expiry_asked_at": { "$exists": true } }).await == 1
    };
    poll::until("its time to be over", SOON, over).await.unwrap();
    app.stack().worker(0).start().await.unwrap();
    let ended = app.ended(&job).await;
    assert!(is_expired(&ended), "{ended:?}");
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn a_job_waits_between_attempts_as_long_as_it_says() {
    let app = STACK.app().await;
    let retry = json!({ "base_s": 0.05, "max_s": 0.1, "factor": 1.5 });
    let job = app.create(&NewJob::fault(&["retry", "retry", "done"]).with("retry", retry.clone())).await;
    assert_eq!(job.retry, Some(retry));
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 3));
}

#[tokio::test]
async fn a_retry_by_hand_keeps_its_pauses_and_counts_its_time_to_start_anew() {
    let app = STACK.app().await;
    let job = NewJob::fault(&["retry", "fail", "retry", "done"])
        .with("retry", json!({ "base_s": 0.05, "max_s": 0.1 }));
    let job = app.create(&job.with("start_within_s", 3600).with("delay_s", 1)).await;
    let failed = app.ended(&job).await;
    assert_eq!(failed.status, Status::Failed);
    let before = bson::DateTime::now();
    let next = app.post(&format!("/v1/jobs/{}/retry", job.id), &json!({})).await.expect(202).job();
    assert_eq!((next.run, next.status, next.run_at), (2, Status::Queued, job.run_at), "it starts at once");
    let least = bson::DateTime::from_millis(before.timestamp_millis() + 3_600_000 - 1000);
    let anew = doc! { "_id": id(&job), "start_by": { "$gte": least } };
    assert_eq!(app.stored_jobs(anew).await, 1);
    let ended = app.job_within(&job, 60).await;
    assert!(ended.status.is_terminal() && ended.run == 2, "{ended:?}");
}
