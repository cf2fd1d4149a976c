//! The broker is disposable: its store is lost or set back to an older copy while nobody is there to see it.

use std::path::Path;
use std::time::Duration;

use bson::doc;
use e2e::{App, JobView, NewJob, Status};
use reqwest::Method;
use stack::{Builder, Stack, poll};

use super::broker_files::{copy, replace, store};

pub(super) const SOON: Duration = Duration::from_secs(60);

/// Well before a silent job is looked at (`SILENT_AFTER_S`).
pub(super) const PROMPTLY: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_store_that_was_lost_while_no_api_ran_is_filled_again() {
    let app = start().await;
    let jobs = create_announced(&app, 20).await;
    while_all_are_down(&app, |store| std::fs::remove_dir_all(store).unwrap()).await;
    all_end(&app, &jobs).await;
}

#[tokio::test]
async fn a_store_that_was_set_back_while_no_api_ran_is_filled_again() {
    let app = start().await;
    let mut jobs = create_announced(&app, 1).await;
    let older = tempfile::tempdir().unwrap();
    let nats = app.stack().nats();
    assert!(nats.pause());
    copy(&store(&app), older.path());
    assert!(nats.resume());
    jobs.extend(create_announced(&app, 20).await);
    while_all_are_down(&app, |store| {
        replace(older.path(), store);
    })
    .await;
    all_end(&app, &jobs).await;
}

#[tokio::test]
async fn announcements_that_expired_are_made_again() {
    let builder = quick().env("SILENT_AFTER_S", 0.5).env("WORKER_FAULTS", true);
    let app = App::start(builder).await;
    let mut jobs = app.stream("JOBS").await.cached_info().config.clone();
    jobs.max_age = Duration::from_secs(2);
    jobs.duplicate_window = Duration::from_secs(1);
    app.jetstream().await.update_stream(jobs).await.unwrap();
    // One that is not acked holds the ack floor of its queue's consumer back; the other queue has none.
    let running = app.running(&app.create(&NewJob::hangs_once()).await).await;
    let worker = app.stack().worker(0);
    worker.pause();
    let waiting = app.create_many(&NewJob::noop(), 3).await;
    let elsewhere = app.create_many(&NewJob::noop().queue("later"), 3).await;
    let again = || async {
        let epochs = app.stored_jobs(doc! { "epoch": { "$gt": 1 } }).await;
        if epochs >= 6 { Ok(()) } else { Err(format!("{epochs} were announced again")) }
    };
    poll::until("all that wait to be announced again", PROMPTLY, again).await.unwrap();
    worker.resume();
    for job in app.all_ended(&waiting).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    }
    worker.kill().await.unwrap();
    worker.set_env("WORKER_QUEUES", "default,later");
    worker.start().await.unwrap();
    for job in app.all_ended(&elsewhere).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    }
    app.ended_within(&running, PROMPTLY).await;
}

/// As an ack would remove it that was meant for another message.
#[tokio::test]
async fn an_announcement_that_was_removed_is_made_again() {
    let app = App::start(quick().env("SILENT_AFTER_S", 0.5)).await;
    let worker = app.stack().worker(0);
    worker.kill().await.unwrap();
    let jobs = create_announced(&app, 3).await;
    let stream = app.stream("JOBS").await;
    let removed = stream.cached_info().state.first_sequence;
    stream.delete_message(removed).await.unwrap();
    let again = || async { app.stored_jobs(doc! { "epoch": 2 }).await == 1 };
    poll::until("the one to be announced again", SOON, again).await.unwrap();
    worker.start().await.unwrap();
    for job in app.all_ended(&jobs).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    }
    assert_eq!(app.stored_jobs(doc! { "epoch": { "$gt": 1 } }).await, 1);
}

/// A job that was created long ago and tried again by hand is not silent for longer than one that is new.
#[tokio::test]
async fn silence_counts_from_the_latest_announcement() {
    let app = App::start(quick().env("SILENT_AFTER_S", 0.5)).await;
    let job = app.ended(&app.create(&NewJob::noop()).await).await;
    let a_month_ago = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - 30 * 86_400_000);
    let id = doc! { "_id": bson::Uuid::parse_str(&job.id).unwrap() };
    let older = doc! { "$set": { "created_at": a_month_ago } };
    app.jobs().await.update_one(id.clone(), older).await.unwrap();
    app.stack().worker(0).kill().await.unwrap();
    app.send(app.request(Method::POST, &format!("/v1/jobs/{}/retry", job.id))).await.expect(202);
    announced(&app, std::slice::from_ref(&job)).await;
    let looks = || async {
        let document = app.jobs().await.find_one(id.clone()).await.unwrap().unwrap();
        let (due, sweep) =
            (document.get_datetime("next_action_at").unwrap(), document.get_object_id("sweep"));
        let ahead_s = (due.timestamp_millis() - bson::DateTime::now().timestamp_millis()) / 1000;
        if sweep.is_ok() && ahead_s < 60 { Ok(()) } else { Err(format!("{document}")) }
    };
    poll::until("the next look to be soon", SOON, looks).await.unwrap();
}

/// Looks at the broker often, and at silent jobs not before a test is long over.
pub(super) fn quick() -> Builder {
    Stack::builder().api(1).workers(1).env("RECONCILE_S", 0.3).env("LEASE_S", 3).env("RELAY_AFTER_S", 1)
}

/// Waits until the marks of these jobs are off: the broker has what they asked for.
pub(super) async fn announced(app: &App, jobs: &[JobView]) {
    let ids: Vec<bson::Uuid> = jobs.iter().map(|job| bson::Uuid::parse_str(&job.id).unwrap()).collect();
    let off = || async {
        let found = app.stored_jobs(doc! { "_id": { "$in": &ids }, "next_action": "check" }).await;
        if found == ids.len() as u64 { Ok(()) } else { Err(format!("{found} of {}", ids.len())) }
    };
    poll::until("the marks to come off", SOON, off).await.unwrap();
}

/// Without a worker, so that jobs wait in the broker; its state is looked at when an API starts and hardly ever after.
async fn start() -> App {
    let app = App::start(Stack::builder().api(1).workers(1).env("RECONCILE_S", 600)).await;
    app.stack().worker(0).terminate().await.unwrap();
    app
}

/// Jobs whose announcements the broker has, and whose marks are off.
async fn create_announced(app: &App, count: usize) -> Vec<JobView> {
    let jobs = app.create_many(&NewJob::noop(), count).await;
    announced(app, &jobs).await;
    jobs
}

async fn while_all_are_down(app: &App, change: impl FnOnce(&Path)) {
    let (nats, api) = (app.stack().nats(), app.stack().api(0));
    api.kill().await.unwrap();
    nats.kill().await.unwrap();
    change(&store(app));
    nats.start().await.unwrap();
    api.start().await.unwrap();
    app.stack().worker(0).start().await.unwrap();
}

pub(super) async fn all_end(app: &App, jobs: &[JobView]) {
    let ended = poll::until("all jobs to end", PROMPTLY, || async {
        let ended = app.stored_jobs(doc! { "status": "finished" }).await;
        if ended == jobs.len() as u64 { Ok(()) } else { Err(format!("{ended} of {} finished", jobs.len())) }
    });
    ended.await.unwrap();
}
