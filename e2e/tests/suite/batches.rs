//! Messages that hold several events.

use std::time::Duration;

use bson::doc;
use e2e::{
    App, JobView, NewJob, Status,
    events::{cancel, created, event, finished, letters},
};
use serde_json::{Value, json};
use stack::{Stack, poll};

const PATIENCE: Duration = Duration::from_secs(60);

/// Announcements in one message for workers of the queue `default`, of jobs whose own queue nobody serves: whoever
/// runs them has them from this message.
async fn announce(app: &App, announcements: &[Value]) {
    let batch = Value::from(announcements.to_vec()).to_string();
    app.publish("job:created.default.normal", batch).await;
}

async fn waiting(app: &App, job: NewJob, count: usize) -> Vec<JobView> {
    app.create_many(&job.queue("later"), count).await
}

async fn is_acked(app: &App, stream: &str, consumer: &str) {
    let look = || async {
        let info = app.consumer(stream, consumer).await;
        if info.num_ack_pending == 0 && info.num_pending == 0 { Ok(()) } else { Err(format!("{info:?}")) }
    };
    poll::until("the message to be acked", PATIENCE, look).await.expect(stream);
}

#[tokio::test]
async fn announcements_of_one_message_all_run_once_where_there_are_fewer_slots() {
    let app = App::start(Stack::builder().api(1).workers(1).env("WORKER_CONCURRENCY", 2)).await;
    let jobs = waiting(&app, NewJob::sleep(0.3), 5).await;
    announce(&app, &jobs.iter().map(created).collect::<Vec<_>>()).await;
    for job in app.all_ended(&jobs).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
        assert_eq!(app.ledger(&job).await.outcomes(), ["finished"]);
    }
    assert_eq!(app.stored_jobs(doc! { "epoch": 1 }).await, 5);
    is_acked(&app, "JOBS", "workers-default-normal").await;
}

#[tokio::test]
async fn two_workers_share_the_announcements_of_one_message() {
    let app = App::start(Stack::builder().api(1).workers(2).env("WORKER_CONCURRENCY", 2)).await;
    // None ends as long as this test goes on, so each worker can take two of them and no more.
    let jobs = waiting(&app, NewJob::sleep(600.0).timeout_s(3600), 4).await;
    announce(&app, &jobs.iter().map(created).collect::<Vec<_>>()).await;
    let running = app.all_running(&jobs).await;
    let by_first = running.iter().filter(|job| app.worker_of(job) == 0).count();
    assert_eq!(by_first, 2, "{running:?}");
    assert!(running.iter().all(|job| job.attempt == 1), "{running:?}");
    is_acked(&app, "JOBS", "workers-default-normal").await;
}

#[tokio::test]
async fn a_worker_that_dies_over_a_message_leaves_none_of_its_jobs_behind() {
    let app = App::start(Stack::builder().api(1).workers(1).env("LEASE_S", 1)).await;
    let worker = app.stack().worker(0);
    worker.kill().await.unwrap();
    worker.set_env("FAILPOINTS", "job.claim.stored=1*return");
    worker.start().await.unwrap();
    let jobs = waiting(&app, NewJob::noop(), 5).await;
    announce(&app, &jobs.iter().map(created).collect::<Vec<_>>()).await;
    poll::until("the worker to die", PATIENCE, || async { !worker.is_running() }).await.unwrap();
    worker.set_env("FAILPOINTS", "");
    // What it has claimed is due by the ledger, whose scan looks at the worker's own queues.
    worker.set_env("WORKER_QUEUES", "default,later");
    worker.start().await.unwrap();
    for job in app.all_ended(&jobs).await {
        assert_eq!(job.status, Status::Finished, "{job:?}");
    }
    is_acked(&app, "JOBS", "workers-default-normal").await;
}

#[tokio::test]
async fn a_member_that_can_not_be_read_is_set_aside_alone() {
    let app = App::start(Stack::builder().api(1).workers(1).env("UNREADABLE_WAIT_S", 1)).await;
    let jobs = waiting(&app, NewJob::noop(), 2).await;
    let newer = event("job:put_off", &jobs[0].id, &json!({ "until": "tomorrow" }));
    let mixed = |first: Value, second: Value| [first, json!(7), newer.clone(), second];

    announce(&app, &mixed(created(&jobs[0]), created(&jobs[1]))).await;
    assert!(app.all_ended(&jobs).await.iter().all(|job| job.status == Status::Finished));
    let of_job = app.job_dead_letters().await;
    are_set_aside(&letters(&of_job, doc! { "stream": "JOBS" }, 2).await, &newer);
    is_acked(&app, "JOBS", "workers-default-normal").await;

    let jobs = waiting(&app, NewJob::noop(), 2).await;
    let events = mixed(finished(&jobs[0], "finished"), finished(&jobs[1], "finished"));
    app.publish("job:finished.later", Value::from(events.to_vec()).to_string()).await;
    assert!(app.all_ended(&jobs).await.iter().all(|job| job.status == Status::Finished));
    let of_api = app.api_dead_letters().await;
    are_set_aside(&letters(&of_api, doc! { "stream": "JOB_EVENTS" }, 2).await, &newer);
    is_acked(&app, "JOB_EVENTS", "api-service").await;

    let jobs = waiting(&app, NewJob::noop(), 2).await;
    let cancels = mixed(cancel(&jobs[0], "requested"), cancel(&jobs[1], "requested"));
    app.publish("job:cancel.later", Value::from(cancels.to_vec()).to_string()).await;
    assert!(app.all_ended(&jobs).await.iter().all(|job| job.status == Status::Cancelled));
    are_set_aside(&letters(&of_job, doc! { "stream": "JOB_CONTROL" }, 2).await, &newer);
    is_acked(&app, "JOB_CONTROL", "job-service").await;
}

fn are_set_aside(letters: &[bson::Document], newer: &Value) {
    let mut seen: Vec<(&str, Value)> = letters
        .iter()
        .map(|letter| {
            let body = serde_json::from_slice(letter.get_binary_generic("body").unwrap()).unwrap();
            (letter.get_str("reason").unwrap(), body)
        })
        .collect();
    seen.sort_by_key(|(reason, _)| *reason);
    assert_eq!(seen, [("newer_version", newer.clone()), ("not_an_event", json!(7))]);
}
