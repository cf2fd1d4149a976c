//! The broker is disposable: its store is lost or set back to an older copy while nobody is there to see it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Status};
use reqwest::Method;
use serde_json::json;
use stack::{Builder, Stack, poll};

const SOON: Duration = Duration::from_secs(60);
/// Well before a silent job is looked at (`SILENT_AFTER_S`).
const PROMPTLY: Duration = Duration::from_secs(120);

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
    let copy = tempfile::tempdir().unwrap();
    let nats = app.stack().nats();
    assert!(nats.pause());
    copy_folder(&store(&app), copy.path());
    assert!(nats.resume());
    jobs.extend(create_announced(&app, 20).await);
    while_all_are_down(&app, |store| {
        std::fs::remove_dir_all(store).unwrap();
        copy_folder(copy.path(), store);
    })
    .await;
    all_end(&app, &jobs).await;
}

/// An end that no api-service has applied is in `JOB_EVENTS` alone.
#[tokio::test]
async fn ends_that_went_to_a_lost_stream_of_events_are_told_again() {
    for lose in [Loss::Deleted, Loss::SetBack] {
        let app = App::start(quick().env("WORKER_FAULTS", true)).await;
        let copy = Copy::of(&app, "JOB_EVENTS").await;
        let before = app.ended(&app.create(&NewJob::noop()).await).await;
        written_down(&app, "JOB_EVENTS").await;
        let gate = Gate::new();
        let job = app.create(&gate.job()).await;
        announced(&app, std::slice::from_ref(&job)).await;
        let api = app.stack().api(0);
        api.kill().await.unwrap();
        gate.open();
        let told = || async { app.ledger_runs(doc! { "status": "finished" }).await == 2 };
        poll::until("the end to be recorded", SOON, told).await.unwrap();
        let acked = || async { app.stream("JOBS").await.cached_info().state.messages == 0 };
        poll::until("the end to be announced", SOON, acked).await.unwrap();
        lose.of("JOB_EVENTS", &app, &copy).await;
        api.start().await.unwrap();
        let job = app.ended_within(&job, PROMPTLY).await;
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{lose:?}");
        assert_eq!(app.job(&before).await.status, Status::Finished);
    }
}

/// A cancel that no worker has read is in `JOB_CONTROL` alone.
#[tokio::test]
async fn cancels_that_went_to_a_lost_stream_of_cancels_are_passed_on_again() {
    for lose in [Loss::Deleted, Loss::SetBack] {
        let app = App::start(quick()).await;
        let first = app.create(&NewJob::sleep(60.0)).await;
        app.running(&first).await;
        app.post(&format!("/v1/jobs/{}/cancel", first.id), &json!({})).await;
        app.ended(&first).await;
        let copy = Copy::of(&app, "JOB_CONTROL").await;
        let job = app.running(&app.create(&NewJob::sleep(60.0)).await).await;
        announced(&app, std::slice::from_ref(&job)).await;
        let worker = app.stack().worker(0);
        worker.kill().await.unwrap();
        app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await.expect(202);
        announced(&app, std::slice::from_ref(&job)).await;
        lose.of("JOB_CONTROL", &app, &copy).await;
        worker.start().await.unwrap();
        // Its lease may end first: then the next attempt is cancelled.
        assert_eq!(app.ended_within(&job, PROMPTLY).await.status, Status::Cancelled, "{lose:?}");
    }
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

/// Waits until the api-service has written down how far the stream has come: one that is set back below that is noticed
/// also by a replica that starts later.
async fn written_down(app: &App, stream: &str) {
    let is_written = || async {
        let last = app.stream(stream).await.cached_info().state.last_sequence;
        let known = app.state(stream).await;
        if known.get_i64("last").ok() == i64::try_from(last).ok() {
            Ok(())
        } else {
            Err(format!("{known} of {last}"))
        }
    };
    poll::until("the stream's end to be written down", SOON, is_written).await.unwrap();
}

/// Looks at the broker often, and at silent jobs not before a test is long over.
fn quick() -> Builder {
    Stack::builder().api(1).workers(1).env("RECONCILE_S", 0.3).env("LEASE_S", 3).env("RELAY_AFTER_S", 1)
}

/// How a stream gets lost while NATS goes on.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Deleted,
    SetBack,
}

/// An older copy of a stream's folder.
struct Copy(tempfile::TempDir);

impl Copy {
    async fn of(app: &App, stream: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        let nats = app.stack().nats();
        // What it has acknowledged is in its files after a stop, not before.
        nats.restart().await.unwrap();
        assert!(nats.pause());
        copy_folder(&store(app).join("jetstream/$G/streams").join(stream), copy.path());
        assert!(nats.resume());
        Self(copy)
    }
}

impl Loss {
    async fn of(self, stream: &str, app: &App, copy: &Copy) {
        match self {
            Self::Deleted => drop(app.jetstream().await.delete_stream(stream).await.unwrap()),
            Self::SetBack => {
                let nats = app.stack().nats();
                nats.terminate().await.unwrap();
                let folder = store(app).join("jetstream/$G/streams").join(stream);
                std::fs::remove_dir_all(&folder).unwrap();
                copy_folder(copy.0.path(), &folder);
                nats.start().await.unwrap();
            }
        }
    }
}

/// Waits until the marks of these jobs are off: the broker has what they asked for.
async fn announced(app: &App, jobs: &[JobView]) {
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

async fn all_end(app: &App, jobs: &[JobView]) {
    let ended = poll::until("all jobs to end", PROMPTLY, || async {
        let ended = app.stored_jobs(doc! { "status": "finished" }).await;
        if ended == jobs.len() as u64 { Ok(()) } else { Err(format!("{ended} of {} finished", jobs.len())) }
    });
    ended.await.unwrap();
}

fn store(app: &App) -> std::path::PathBuf {
    app.stack().folder().join("nats/jetstream")
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
