//! What is going on is not taken for a loss: nothing is announced more often than something was lost.

use std::sync::atomic::{AtomicBool, Ordering};

use bson::doc;
use e2e::{App, NewJob};
use serde_json::json;
use stack::poll;

use super::broker_lost::{PROMPTLY, SOON, all_end, quick};

/// While jobs are created, the store is wiped: what was announced is announced once more, and not twice.
#[tokio::test]
async fn two_replicas_that_notice_a_wiped_store_announce_everything_again_once() {
    let app = App::start(quick().api(2).env("RECONCILE_S", 1)).await;
    let is_over = AtomicBool::new(false);
    let creating = async {
        let mut jobs = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            jobs.extend(app.create_many(&NewJob::sleep(0.05), 20).await);
        }
        jobs
    };
    let wiping = async {
        for lost in 2..=4 {
            let stored = app.stored_jobs(doc! {}).await;
            let more = || async { app.stored_jobs(doc! {}).await > stored + 50 };
            poll::until("more jobs", SOON, more).await.unwrap();
            app.jetstream().await.delete_stream("JOBS").await.unwrap();
            let is_noticed = || async { app.state("JOBS").await.get_i64("generation").ok() == Some(lost) };
            poll::until("the loss to be noticed", SOON, is_noticed).await.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (jobs, ()) = tokio::join!(creating, wiping);
    all_end(&app, &jobs).await;
    // Each of the three losses may cost an epoch.
    assert_eq!(app.stored_jobs(doc! { "epoch": { "$gt": 4 } }).await, 0);
    let state = app.state("JOBS").await;
    assert_eq!(state.get_i64("generation").unwrap(), 4, "{state}");
}

#[tokio::test]
async fn a_replica_that_starts_beside_one_that_publishes_announces_nothing_again() {
    let app = App::start(quick().api(2)).await;
    app.stack().worker(0).kill().await.unwrap();
    let second = app.stack().api(1);
    second.kill().await.unwrap();
    let first = app.replica(0);
    let batch = json!({ "jobs": vec![json!({ "kind": "noop" }); 100] });
    let creating = async {
        for _ in 0..60 {
            first.post("/v1/jobs/batch", &batch).await.expect(200);
        }
    };
    let starting = async {
        for _ in 0..3 {
            second.start().await.unwrap();
            second.kill().await.unwrap();
        }
        second.start().await.unwrap();
    };
    tokio::join!(creating, starting);
    let announced = || async { app.stored_jobs(doc! { "next_action": "check" }).await == 6000 };
    poll::until("all to be announced", PROMPTLY, announced).await.unwrap();
    assert_eq!(app.stream("JOBS").await.cached_info().state.messages, 6000);
    assert_eq!(app.stored_jobs(doc! { "epoch": { "$gt": 1 } }).await, 0);
}
