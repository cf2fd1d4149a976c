//! Documents that a newer version has written: they are passed over, hinder nobody, and are not lost.

use std::time::Duration;

use bson::{Bson, DateTime, Document, doc};
use e2e::{
    App, JobView, NewJob, Status,
    events::{created, finished},
};
use mongodb::Collection;
use reqwest::Method;
use serde_json::json;
use stack::{Builder, Stack, poll};

const PATIENCE: Duration = Duration::from_secs(60);

/// More than any scan takes at a time.
const MANY: usize = 1200;

fn quick() -> Builder {
    let stack = Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 0.05);
    stack.env("RELAY_SCAN_S", 0.2).env("RELAY_AFTER_S", 0.5).env("DUE_SCAN_S", 0.2)
}

/// Copies of a document that a newer version has changed: all are due for long.
async fn unreadable_copies(
    of: &Collection<Document>,
    filter: Document,
    next_action: &str,
    id: impl Fn(uuid::Uuid) -> Bson,
) {
    let mut document = of.find_one(filter).await.unwrap().expect("a document");
    document.extend(doc! {
        "next_action": next_action, "next_action_at": DateTime::from_millis(1), "next_at": DateTime::from_millis(1), "priority": "urgent",
    });
    let copies = (0..MANY).map(|_| {
        let mut copy = document.clone();
        copy.insert("_id", id(uuid::Uuid::now_v7()));
        copy
    });
    of.insert_many(copies.collect::<Vec<_>>()).await.unwrap();
}

fn job_id(id: uuid::Uuid) -> Bson {
    bson::Uuid::from_bytes(id.into_bytes()).into()
}

fn run_id(id: uuid::Uuid) -> Bson {
    format!("{id}.1").into()
}

/// Whoever comes across them leaves them due, so that a newer replica gets at them at once.
async fn are_due(of: &Collection<Document>) {
    let look = || async {
        let due = doc! { "priority": "urgent", "next_action_at": { "$lte": DateTime::now() } };
        let all = of.count_documents(doc! { "priority": "urgent" }).await.unwrap();
        let due = of.count_documents(due).await.unwrap();
        if all >= MANY as u64 && due == all { Ok(()) } else { Err(format!("{due} of {all}")) }
    };
    poll::until("all of them to be due", PATIENCE, look).await.unwrap();
}

#[tokio::test]
async fn runs_that_are_due_and_can_not_be_read_stand_before_nothing() {
    let app = App::start(quick().workers(2).env("LEASE_S", 4)).await;
    let runs = app.runs().await;
    app.ended(&app.create(&NewJob::noop()).await).await;
    for next_action in ["run", "announce", "announce_and_run"] {
        unreadable_copies(&runs, doc! { "priority": "normal" }, next_action, run_id).await;
    }
    // Retries are found, and so are the leases of a worker that died, though that waits while the database fails.
    let retried = app.create(&NewJob::fault(&["retry", "done"])).await;
    let left = app.running(&app.create(&NewJob::hangs_once()).await).await;
    app.stack().worker(app.worker_of(&left)).kill().await.unwrap();
    for job in app.all_ended(&[retried, left]).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 2), "{job:?}");
    }
    are_due(&runs).await;
}

#[tokio::test]
async fn jobs_that_are_due_and_can_not_be_read_stand_before_nothing() {
    let app = App::start(quick()).await;
    let jobs = app.jobs().await;
    app.ended(&app.create(&NewJob::noop()).await).await;
    for next_action in ["announce", "cancel"] {
        unreadable_copies(&jobs, doc! { "priority": "normal" }, next_action, job_id).await;
    }
    app.stack().nats().kill().await.unwrap();
    let waiting = app.create_many(&NewJob::noop(), 3).await;
    app.stack().nats().start().await.unwrap();
    assert!(app.all_ended(&waiting).await.iter().all(|job| job.status == Status::Finished));
    are_due(&jobs).await;
}

#[tokio::test]
async fn a_job_that_can_not_be_read_is_said_to_be_one_and_lists_leave_it_out() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let jobs = app.create_many(&NewJob::noop().queue("later"), 5).await;
    let newer = &jobs[2];
    set(&app.jobs().await, job_id(newer.id.parse().unwrap()), doc! { "status": "paused" }).await;

    let path = format!("/v1/jobs/{}", newer.id);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/attempts")),
        (Method::POST, format!("{path}/cancel")),
        (Method::POST, format!("{path}/retry")),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("/{}", newer.id)),
    ] {
        let answer = app.send(app.request(method, &path)).await.expect(503);
        assert_eq!(answer.problem().code, "newer_version", "{path}");
        assert!(answer.retry_after_s() > 0);
    }
    // It counts for a page, whose token goes on behind it.
    let (mut seen, mut unreadable, mut next) = (Vec::new(), 0, String::new());
    loop {
        let page = app.get(&format!("/v1/jobs?page_size=1&page_token={next}")).await.expect(200).json();
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        unreadable += page["unreadable"].as_u64().unwrap_or(0);
        next = page["next_page_token"].as_str().unwrap().to_owned();
        if next.is_empty() {
            break;
        }
    }
    let mut others: Vec<&str> =
        jobs.iter().filter(|job| job.id != newer.id).map(|job| job.id.as_str()).collect();
    others.sort_unstable();
    seen.sort_unstable();
    assert_eq!((seen.iter().map(String::as_str).collect::<Vec<_>>(), unreadable), (others, 1));
    let acted = app.post("/v1/jobs/cancel", &json!({})).await.expect(200).json();
    assert_eq!((&acted["cancel_requested"], &acted["unreadable"]), (&json!(4), &json!(0)));
}

#[tokio::test]
async fn what_asks_for_something_of_an_unreadable_document_waits_for_who_can_read_it() {
    let app =
        App::start(Stack::builder().api(1).workers(1).env("RETRY_BASE_S", 600).env("WORKER_FAULTS", true))
            .await;
    let (jobs, runs) = (app.jobs().await, app.runs().await);
    let waiting = failed_once(&app, &runs).await;
    let again = failed_once(&app, &runs).await;
    for job in [&waiting, &again] {
        set(&runs, format!("{}.1", job.id).into(), doc! { "priority": "urgent" }).await;
    }
    let paused = app.create(&NewJob::noop().queue("later")).await;
    set(&jobs, job_id(paused.id.parse().unwrap()), doc! { "status": "paused" }).await;

    app.post(&format!("/v1/jobs/{}/cancel", waiting.id), &json!({})).await.expect(202);
    comes_again(&app, "JOB_CONTROL", "job-service").await;
    app.publish("job:created.default.normal", created(&again).to_string()).await;
    comes_again(&app, "JOBS", "workers-default-normal").await;
    app.publish("job:finished.later", finished(&paused, "finished").to_string()).await;
    comes_again(&app, "JOB_EVENTS", "api-service").await;

    // The others go on.
    let running = app.running(&app.create(&NewJob::sleep(60.0)).await).await;
    app.post(&format!("/v1/jobs/{}/cancel", running.id), &json!({})).await;
    assert_eq!(app.ended(&running).await.status, Status::Cancelled);
    assert_eq!(app.ended(&app.create(&NewJob::noop()).await).await.status, Status::Finished);

    // As if this were a version that can read them.
    let due = doc! { "priority": "normal", "next_at": DateTime::now() };
    set(&runs, format!("{}.1", again.id).into(), due).await;
    set(&runs, format!("{}.1", waiting.id).into(), doc! { "priority": "normal" }).await;
    set(&jobs, job_id(paused.id.parse().unwrap()), doc! { "status": "queued" }).await;
    assert_eq!(app.ended_within(&waiting, PATIENCE).await.status, Status::Cancelled);
    assert_eq!(app.ended_within(&again, PATIENCE).await.status, Status::Finished);
    assert_eq!(app.ended_within(&paused, PATIENCE).await.status, Status::Finished);
}

#[tokio::test]
async fn fields_of_a_newer_version_outlive_the_writes_of_this_one() {
    let app =
        App::start(Stack::builder().api(1).workers(1).env("RETRY_BASE_S", 600).env("WORKER_FAULTS", true))
            .await;
    let runs = app.runs().await;
    let job = failed_once(&app, &runs).await;
    let id = Bson::from(format!("{}.1", job.id));
    let unknown = doc! { "shard": { "of": 7 }, "attempts.0.cost": 3, "attempts.0.error.hint": "try harder" };
    let mut due = doc! { "next_at": DateTime::from_millis(1), "next_action_at": DateTime::from_millis(1) };
    due.extend(unknown);
    set(&runs, id.clone(), due).await;
    assert_eq!(app.ended_within(&job, PATIENCE).await.status, Status::Finished);
    let run = runs.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    assert_eq!(run.get_document("shard").unwrap(), &doc! { "of": 7 });
    let attempts = run.get_array("attempts").unwrap();
    let first = attempts[0].as_document().unwrap();
    assert_eq!((attempts.len(), first.get_i32("cost").unwrap()), (2, 3), "{run}");
    assert_eq!(first.get_document("error").unwrap().get_str("hint").unwrap(), "try harder");
}

/// A job whose first attempt has failed, and whose next one is far away.
async fn failed_once(app: &App, runs: &Collection<Document>) -> JobView {
    let job = app.create(&NewJob::fault(&["retry", "done"])).await;
    let is_recorded = || async {
        let waits = doc! { "_id": format!("{}.1", job.id), "status": "queued", "next_action": "run" };
        runs.count_documents(waits).await.unwrap() == 1
    };
    poll::until("the first attempt to be recorded", PATIENCE, is_recorded).await.unwrap();
    job
}

async fn set(of: &Collection<Document>, id: Bson, fields: Document) {
    let done = of.update_one(doc! { "_id": id }, doc! { "$set": fields }).await.unwrap();
    assert_eq!(done.matched_count, 1);
}

async fn comes_again(app: &App, stream: &str, consumer: &str) {
    let look = || async {
        let info = app.consumer(stream, consumer).await;
        if info.num_redelivered == 1 { Ok(()) } else { Err(format!("{info:?}")) }
    };
    poll::until("the message to come again", PATIENCE, look).await.expect(stream);
}
