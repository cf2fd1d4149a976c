//! A backup as `docs/operations.md` has it: both databases, copied as they are at one moment, and nothing of NATS.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bson::doc;
use e2e::{App, JobView, NewJob, Status};
use hasty::fsck;
use lab::endpoints;
use serde_json::json;
use stack::{Builder, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

fn stack(data: &Path) -> Builder {
    Stack::builder().api(1).workers(1).data(data).env("WORKER_FAULTS", true).env("LEASE_S", 2)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Jobs in every state, and a schedule.
struct Stored {
    finished: Vec<JobView>,
    running: Vec<JobView>,
    waiting: Vec<JobView>,
    delayed: JobView,
}

async fn fill(app: &App) -> Stored {
    let finished = app.create_many(&NewJob::shuffle("abc"), 20).await;
    let finished = app.all_ended(&finished).await;
    let running = app.create_many(&NewJob::hangs_once(), 3).await;
    for job in &running {
        app.running(job).await;
    }
    let waiting = app.create_many(&NewJob::noop().queue("later"), 5).await;
    let delayed = app.create(&NewJob::noop().with("delay_s", 86_400)).await;
    let schedule = json!({ "cron": "@yearly", "template": { "kind": "noop" } });
    app.post("/v1/schedules", &schedule).await.expect(201);
    Stored { finished, running, waiting, delayed }
}

/// All of it is there and goes on.
async fn goes_on(app: &App, stored: &Stored) {
    for job in &stored.finished {
        assert_eq!(app.job(job).await, *job, "what had ended is as it was");
    }
    assert!(app.all_ended(&stored.running).await.iter().all(|job| job.status == Status::Finished));
    assert!(app.all_ended(&stored.waiting).await.iter().all(|job| job.status == Status::Finished));
    assert_eq!(app.job(&stored.delayed).await.status, Status::Scheduled);
    let schedules = app.get("/v1/schedules").await.expect(200).json();
    assert_eq!(schedules["schedules"].as_array().unwrap().len(), 1);
    let clean = || async {
        let report = fsck::check(&endpoints(app.stack())).await.map_err(|error| format!("{error:#}"))?;
        let open = report.jobs - report.ended;
        if report.is_clean() && open == 1 { Ok(()) } else { Err(report.to_string()) }
    };
    poll::until("all but the delayed job to have ended, and fsck to be content", SOON, clean).await.unwrap();
}

#[tokio::test]
async fn a_copy_of_both_databases_while_they_are_stopped_goes_on() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let app = App::start(stack(here.path())).await;
    let stored = fill(&app).await;
    // Both services stay up, and wait.
    app.stack().api_mongo().terminate().await.unwrap();
    app.stack().job_mongo().terminate().await.unwrap();
    for name in ["api-mongo", "job-mongo"] {
        copy(&here.path().join(name), &there.path().join(name));
    }
    drop(app);
    let copied = App::start(stack(there.path()).env("WORKER_QUEUES", "default,later")).await;
    goes_on(&copied, &stored).await;
}

/// As a snapshot of the file systems does it: what is in the files at that moment, with the journal.
#[tokio::test]
async fn a_copy_of_both_databases_at_one_moment_under_load_goes_on() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let app = App::start(stack(here.path())).await;
    let stored = fill(&app).await;
    let load = {
        let client = app.replica(0);
        tokio::spawn(async move {
            loop {
                // Where the database stands still it is answered with 503.
                client.try_create(&NewJob::noop()).await;
            }
        })
    };
    let before = app.stored_jobs(doc! {}).await;
    let more = || async {
        let jobs = app.stored_jobs(doc! {}).await;
        if jobs > before + 50 { Ok(()) } else { Err(jobs) }
    };
    poll::until("the load to be under way", SOON, more).await.unwrap();
    let mongos = [app.stack().api_mongo(), app.stack().job_mongo()];
    assert!(mongos.iter().all(|mongo| mongo.pause()));
    for mongo in mongos {
        mongo.paused().await.unwrap();
    }
    for name in ["api-mongo", "job-mongo"] {
        copy(&here.path().join(name), &there.path().join(name));
    }
    assert!(mongos.iter().all(|mongo| mongo.resume()));
    load.abort();
    let _ = load.await;
    drop(app);
    let copied = App::start(stack(there.path()).env("WORKER_QUEUES", "default,later")).await;
    goes_on(&copied, &stored).await;
}
