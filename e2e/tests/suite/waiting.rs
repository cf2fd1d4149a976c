//! Jobs that simply wait in their queue, however long, are looked at and left alone.

use std::time::Duration;

use bson::{Bson, doc};
use e2e::{App, NewJob};
use serde_json::json;
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(120);
/// In each of two queues.
const WAITING: usize = 2000;

#[tokio::test]
async fn jobs_that_wait_are_looked_at_again_and_again_and_announced_once() {
    let builder = Stack::builder().api(2).workers(1).env("SILENT_AFTER_S", 0.5).env("RECONCILE_S", 0.2);
    let app = App::start(builder).await;
    // One queue's workers have acked something and are gone, the other one's have never come.
    let before = app.create_many(&NewJob::noop(), 10).await;
    app.all_ended(&before).await;
    app.stack().worker(0).terminate().await.unwrap();
    for queue in ["default", "later"] {
        for _ in 0..WAITING / 1000 {
            let job = json!({ "kind": "noop", "queue": queue });
            let answer = app.post("/v1/jobs/batch", &json!({ "jobs": vec![job; 1000] })).await;
            let results = answer.expect(200).json()["results"].as_array().unwrap().clone();
            assert!(results.iter().all(|result| result["status"] == 201));
        }
    }
    let all = 2 * WAITING as u64;
    let marks_off = || async { app.stored_jobs(doc! { "next_action": "check" }).await == all };
    poll::until("all to be announced", SOON, marks_off).await.unwrap();
    let announced = app.stream("JOBS").await.cached_info().state.last_sequence;

    for _ in 0..3 {
        all_are_looked_at(&app).await;
    }
    let now = app.stream("JOBS").await.cached_info().state.clone();
    assert_eq!((now.last_sequence, now.messages), (announced, all));
    assert_eq!(app.stored_jobs(doc! { "epoch": { "$ne": 1 } }).await, 0);

    let worker = app.stack().worker(0);
    worker.set_env("WORKER_QUEUES", "default,later");
    worker.start().await.unwrap();
    poll::until("all to finish by their first attempt", SOON, || async {
        let finished = app.stored_jobs(doc! { "status": "finished", "attempt": 1 }).await;
        if finished == all + 10 { Ok(()) } else { Err(format!("{finished} of {all}")) }
    })
    .await
    .unwrap();
}

/// Each look leaves a token of its own in the documents.
async fn all_are_looked_at(app: &App) {
    let mut seen = app.jobs().await.distinct("sweep", doc! {}).await.unwrap();
    seen.push(Bson::Null);
    poll::until("all jobs to be looked at", SOON, || async {
        let left = app.stored_jobs(doc! { "next_action": "check", "sweep": { "$in": seen.clone() } }).await;
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await
    .unwrap();
}
