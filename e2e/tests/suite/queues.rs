//! Queues do not stand in each other's way: neither in the broker's room nor at a worker.

use std::time::Duration;

use bson::doc;
use e2e::{App, JobView, NewJob, Status};
use serde_json::json;
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(120);

/// How many announcements may wait in the database.
const OUTBOX_MAX: u64 = 40;

#[tokio::test]
async fn a_queue_that_nobody_serves_fills_its_share_of_the_broker_and_then_is_refused_alone() {
    let builder =
        Stack::builder().api(2).workers(1).env("NATS_JOBS_MAX_MIB", 1).env("OUTBOX_MAX", OUTBOX_MAX);
    // So rarely that the replicas see nothing of each other while the queue fills the broker.
    let app = App::start(builder.env("RELAY_AFTER_S", 0.5).env("RELAY_SCAN_S", 5)).await;
    let filling = json!({ "filling": "x".repeat(60_000) });
    let large = NewJob::noop().payload(filling).queue("unserved");
    let mut accepted: Vec<JobView> = Vec::new();
    let refused = loop {
        let answer = app.try_create(&large).await;
        if answer.status != 201 {
            break answer;
        }
        accepted.push(answer.job());
        assert!(accepted.len() < 1000, "nobody is refused");
    };
    assert_eq!((refused.status, refused.problem().code.as_str()), (503, "outbox_full"));
    assert!(refused.retry_after_s() > 0);
    assert!(accepted.len() as u64 > OUTBOX_MAX, "the broker took none");

    // The other queue has its part of the broker, and is served as ever.
    let other = NewJob::noop().payload(json!({ "filling": "x".repeat(30_000) }));
    for job in app.all_ended(&app.create_many(&other, 30).await).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    }

    let worker = app.stack().worker(0);
    worker.kill().await.unwrap();
    worker.set_env("WORKER_QUEUES", "default,unserved");
    worker.start().await.unwrap();
    for job in app.all_ended(&accepted).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    }
    // The replicas count what waits when they next look.
    let accepted = || async { app.try_create(&large).await.status == 201 };
    poll::until("the queue to be accepted again", SOON, accepted).await.unwrap();
    let none_waits = || async { app.stored_jobs(doc! { "next_action": "await_room" }).await == 0 };
    poll::until("nothing to wait for room", SOON, none_waits).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_never_runs_dry_leaves_the_others_their_slots() {
    let builder = Stack::builder().api(1).workers(1).env("WORKER_CONCURRENCY", 2);
    let app = App::start(builder.env("WORKER_QUEUES", "busy,calm")).await;
    app.stack().worker(0).terminate().await.unwrap();
    let busy = app.create_many(&NewJob::sleep(0.02).queue("busy").priority("high"), 60).await;
    let calm = app.create_many(&NewJob::noop().queue("calm").priority("low"), 5).await;
    let announced = || async { app.stream("JOBS").await.cached_info().state.messages == 65 };
    poll::until("all to be announced", SOON, announced).await.unwrap();
    app.stack().worker(0).start().await.unwrap();
    let last = |jobs: &[JobView]| jobs.iter().map(|job| job.started_at).max();
    let (busy, calm) = (app.all_ended(&busy).await, app.all_ended(&calm).await);
    assert!(last(&calm) < last(&busy), "{:?} and {:?}", last(&calm), last(&busy));
}
