//! The fence is (attempt, worker): a write with the right attempt is refused where another worker made that attempt.
//! It happens where a database loses a claim and another worker then makes it again, under the same number.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use e2e::{App, HISTORY, JobView, NewJob};
use stack::{Builder, Stack, poll};

const SOON: Duration = Duration::from_secs(120);

#[tokio::test]
async fn an_outcome_with_the_right_attempt_of_the_wrong_worker_is_refused() {
    let app = App::start(stack().env("FAILPOINTS", "job.attempt.over=1*return(stop)")).await;
    let job = app.create(&NewJob::noop()).await;
    let worker = app.stack().worker(0);
    worker.paused().await.unwrap();
    let theirs = claimed_by_another(&app, &job).await;
    worker.resume();
    happens(&app, &job, "refused").await;
    assert_eq!(document(&app, &job).await, theirs);
}

#[tokio::test]
async fn a_renewal_with_the_right_attempt_of_the_wrong_worker_is_refused() {
    let app = App::start(stack().env("LEASE_S", 3)).await;
    let job = app.running(&app.create(&NewJob::sleep(600.0).timeout_s(900)).await).await;
    let theirs = claimed_by_another(&app, &job).await;
    happens(&app, &job, "lease_lost").await;
    assert_eq!(document(&app, &job).await, theirs);
}

fn stack() -> Builder {
    Stack::builder().api(1).workers(1).env("WORKER_HISTORY_DIR", HISTORY)
}

/// Puts another worker's claim in the place of this one's, with the same number and a lease that lives for long.
async fn claimed_by_another(app: &App, job: &JobView) -> Document {
    let in_an_hour = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000);
    let claim = doc! { "$set": { "worker": "another-1-00000000", "lease_until": in_an_hour, "next_action_at": in_an_hour } };
    let run = doc! { "_id": format!("{}.1", job.id), "attempt": 1, "status": "running" };
    assert_eq!(app.runs().await.update_one(run, claim).await.unwrap().modified_count, 1);
    document(app, job).await
}

async fn document(app: &App, job: &JobView) -> Document {
    let run = doc! { "_id": format!("{}.1", job.id) };
    app.runs().await.find_one(run).await.unwrap().unwrap()
}

/// Waits until the worker's history has this event of its attempt.
async fn happens(app: &App, job: &JobView, event: &str) {
    poll::until(event, SOON, || async { app.history(job, event) == [1] }).await.unwrap();
}
