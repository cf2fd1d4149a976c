//! Full streams: `JOB_EVENTS` is a log, in which the api-service makes room; what finds none in any of the streams waits
//! in its database and is sent later.

use std::time::Duration;

use bson::doc;
use e2e::{App, NewJob};
use serde_json::json;
use stack::{Builder, Stack, poll};

/// Nothing below waits for so long; it is how long a heavily loaded machine may take for thousands of jobs.
const PATIENCE: Duration = Duration::from_secs(120);

const MIB: u64 = 1 << 20;
const NO_OPS: u64 = 6000;

#[tokio::test]
async fn more_ends_than_the_log_of_events_can_hold_are_all_seen() {
    let app = App::start(small_log()).await;
    create(&app, NO_OPS).await;
    all_finish(&app, NO_OPS).await;
    let log = app.stream("JOB_EVENTS").await.cached_info().state.clone();
    assert!(log.first_sequence > 1 && log.bytes <= MIB, "{log:?}");
}

#[tokio::test]
async fn ends_that_find_no_room_while_no_api_runs_are_kept_and_come_later() {
    let app = App::start(small_log()).await;
    app.stack().worker(0).terminate().await.unwrap();
    create(&app, NO_OPS).await;
    all_announced(&app, NO_OPS).await;
    app.stack().api(0).terminate().await.unwrap();

    app.stack().worker(0).start().await.unwrap();
    let ended = || async {
        let ended = app.ledger_runs(doc! { "status": "finished" }).await;
        let marked = app.ledger_runs(doc! { "next_action": "announce" }).await;
        if ended == NO_OPS && marked > 0 { Ok(()) } else { Err(format!("{ended} ended, {marked} marked")) }
    };
    poll::until("all to end, and those without room to be marked", PATIENCE, ended).await.unwrap();
    let log = app.stream("JOB_EVENTS").await.cached_info().state.clone();
    assert_eq!(log.first_sequence, 1, "nothing of it is applied, and all of it is there: {log:?}");

    app.stack().api(0).start().await.unwrap();
    all_finish(&app, NO_OPS).await;
    let marks = || async { app.ledger_runs(doc! { "next_action": "announce" }).await == 0 };
    poll::until("all marks to come off", PATIENCE, marks).await.unwrap();
}

#[tokio::test]
async fn nothing_that_is_not_applied_is_removed_however_full_the_log_is() {
    let app = App::start(small_log()).await;
    app.stack().worker(0).terminate().await.unwrap();
    create(&app, NO_OPS).await;
    all_announced(&app, NO_OPS).await;
    assert!(app.stack().api_mongo().pause());
    app.stack().worker(0).start().await.unwrap();
    let noticed = || async { app.stack().api(0).log().contains("JOB_EVENTS has no room") };
    poll::until("the api-service to look at a full log", PATIENCE, noticed).await.unwrap();
    let log = app.stream("JOB_EVENTS").await.cached_info().state.clone();
    assert_eq!(log.first_sequence, 1, "{log:?}");
    assert!(app.stack().api_mongo().resume());
    all_finish(&app, NO_OPS).await;
}

#[tokio::test]
async fn cancels_that_find_no_room_are_kept_and_arrive_later() {
    const JOBS: u64 = 5000;
    let builder = Stack::builder().api(1).workers(1).env("NATS_CONTROL_MAX_MIB", 1);
    let app = App::start(quick(builder)).await;
    app.stack().worker(0).terminate().await.unwrap();
    create_all(&app, &NewJob::sleep(3600.0).timeout_s(7200), JOBS).await;
    all_announced(&app, JOBS).await;
    cancel_all(&app).await;
    let kept = || async { app.stored_jobs(doc! { "next_action": "cancel" }).await };
    let full = || async {
        let (bytes, kept) = (app.stream("JOB_CONTROL").await.cached_info().state.bytes, kept().await);
        if bytes > MIB - 1000 && kept > 0 { Ok(()) } else { Err(format!("{bytes} bytes sent, {kept} kept")) }
    };
    poll::until("JOB_CONTROL to be full", PATIENCE, full).await.unwrap();

    app.stack().worker(0).start().await.unwrap();
    let all = || async {
        let cancelled = app.stored_jobs(doc! { "status": "cancelled", "reason": "requested" }).await;
        if cancelled == JOBS { Ok(()) } else { Err(format!("{cancelled} of {JOBS} are cancelled")) }
    };
    poll::until("all cancels to arrive", PATIENCE, all).await.unwrap();
    poll::until("all marks to come off", PATIENCE, || async { kept().await == 0 }).await.unwrap();
}

/// With room for about 1,600 ends of no-ops.
fn small_log() -> Builder {
    quick(Stack::builder().api(1).workers(1).env("NATS_EVENTS_MAX_MIB", 1))
}

fn quick(builder: Builder) -> Builder {
    builder.env("RELAY_AFTER_S", 0.5).env("RELAY_SCAN_S", 0.2)
}

async fn create(app: &App, count: u64) {
    create_all(app, &NewJob::noop(), count).await;
}

async fn create_all(app: &App, job: &NewJob, count: u64) {
    for _ in 0..count / 1000 {
        let jobs: Vec<&NewJob> = vec![job; 1000];
        let answer = app.post("/v1/jobs/batch", &json!({ "jobs": jobs })).await.expect(200).json();
        let created = answer["results"].as_array().unwrap().iter().filter(|one| one["status"] == 201);
        assert_eq!(created.count(), 1000);
    }
}

async fn cancel_all(app: &App) {
    let mut token = String::new();
    loop {
        let path = format!("/v1/jobs/cancel?page_token={token}");
        let page = app.post(&path, &json!({})).await.expect(200).json();
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            return;
        }
    }
}

/// The broker has them, and their marks are off.
async fn all_announced(app: &App, count: u64) {
    let announced = || async {
        let announced = app.stored_jobs(doc! { "next_action": "check" }).await;
        if announced == count { Ok(()) } else { Err(format!("{announced} of {count}")) }
    };
    poll::until("all to be announced", PATIENCE, announced).await.unwrap();
}

async fn all_finish(app: &App, count: u64) {
    let all = || async {
        let finished = app.stored_jobs(doc! { "status": "finished" }).await;
        if finished == count { Ok(()) } else { Err(format!("{finished} of {count} finished")) }
    };
    poll::until("all ends to be seen", PATIENCE, all).await.unwrap();
}
