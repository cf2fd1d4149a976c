//! The broker is disposable: its store is lost or set back to an older copy while nobody is there to see it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use bson::doc;
use e2e::{App, JobView, NewJob};
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(15);
/// Well before a silent job is looked at (`SILENT_AFTER_S`).
const PROMPTLY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_store_that_was_lost_while_no_api_ran_is_filled_again() {
    let app = start().await;
    let jobs = announced(&app, 20).await;
    while_all_are_down(&app, |store| std::fs::remove_dir_all(store).unwrap()).await;
    all_end(&app, &jobs).await;
}

#[tokio::test]
async fn a_store_that_was_set_back_while_no_api_ran_is_filled_again() {
    let app = start().await;
    let mut jobs = announced(&app, 1).await;
    let copy = tempfile::tempdir().unwrap();
    let nats = app.stack().nats();
    assert!(nats.pause());
    copy_folder(&store(&app), copy.path());
    assert!(nats.resume());
    jobs.extend(announced(&app, 20).await);
    while_all_are_down(&app, |store| {
        std::fs::remove_dir_all(store).unwrap();
        copy_folder(copy.path(), store);
    })
    .await;
    all_end(&app, &jobs).await;
}

/// Without a worker, so that jobs wait in the broker; its state is looked at when an API starts and hardly ever after.
async fn start() -> App {
    let app = App::start(Stack::builder().api(1).workers(1).env("RECONCILE_S", 600)).await;
    app.stack().worker(0).terminate().await.unwrap();
    app
}

/// Jobs whose announcements the broker has, and whose marks are off.
async fn announced(app: &App, count: usize) -> Vec<JobView> {
    let before = app.stored_jobs(doc! { "duty": "check" }).await;
    let jobs = app.create_many(&NewJob::noop(), count).await;
    let all = before + count as u64;
    let marks = || async { app.stored_jobs(doc! { "duty": "check" }).await == all };
    poll::until("the jobs to be announced", SOON, marks).await.unwrap();
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
