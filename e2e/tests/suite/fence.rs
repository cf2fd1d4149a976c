//! The fence is (attempt, worker): a write with the right attempt is refused where another worker made that attempt.
//! It happens where a database loses a claim and another worker then makes it again, under the same number.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use e2e::{App, JobView, NewJob};
use stack::{Node, Stack, poll};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_outcome_with_the_right_attempt_of_the_wrong_worker_is_refused() {
    let held = Stack::builder().api(1).workers(1).env("FAILPOINTS", "job.attempt.over=1*return(stop)");
    let app = App::start(held).await;
    let job = app.create(&NewJob::noop()).await;
    let worker = app.stack().worker(0);
    worker.paused().await.unwrap();
    let theirs = claimed_by_another(&app, &job).await;
    worker.resume();
    says(worker, "outcome refused").await;
    assert_eq!(document(&app, &job).await, theirs);
}

#[tokio::test]
async fn a_renewal_with_the_right_attempt_of_the_wrong_worker_is_refused() {
    let app = App::start(Stack::builder().api(1).workers(1).env("LEASE_S", 3)).await;
    let job = app.running(&app.create(&NewJob::sleep(600.0).timeout_s(900)).await).await;
    let theirs = claimed_by_another(&app, &job).await;
    says(app.stack().worker(0), "lease lost").await;
    assert_eq!(document(&app, &job).await, theirs);
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

async fn says(worker: &Node, words: &str) {
    poll::until(&format!("`{words}`"), SOON, || async { worker.log().contains(words) }).await.unwrap();
}
