//! Handlers that block their threads: they hinder neither other handlers nor leases, health, cancels and shutdown.

use std::path::Path;
use std::time::Duration;

use bson::{DateTime, doc};
use e2e::{App, Client, JobView, NewJob, Status};
use reqwest::Method;
use serde_json::json;
use stack::{Builder, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

/// More handlers than threads block in each test.
const BLOCKED: usize = 3;

fn one_thread_for_handlers() -> Builder {
    Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true).env("HANDLER_THREADS", 1)
}

/// Blocks its thread for ever.
fn block() -> NewJob {
    NewJob::of_kind("fault").payload(json!({ "attempts": ["block"] })).timeout_s(7200)
}

/// Neither ends nor blocks.
fn long() -> NewJob {
    NewJob::sleep(3600.0).timeout_s(7200)
}

async fn cancelled(app: &App, job: &JobView) {
    let cancel = app.request(Method::POST, &format!("/v1/jobs/{}/cancel", job.id));
    assert!([200, 202].contains(&app.send(cancel).await.status));
    let ended = app.ended_within(job, SOON).await;
    assert_eq!((ended.status, ended.attempt), (Status::Cancelled, 1), "{ended:?}");
}

#[tokio::test]
async fn handlers_that_block_every_thread_hinder_nobody() {
    let app = App::start(one_thread_for_handlers().env("LEASE_S", 6).env("SHUTDOWN_GRACE_S", 1)).await;
    let worker = app.stack().worker(0);
    let neighbours = app.all_running(&app.create_many(&long(), 2).await).await;
    let blocked = app.all_running(&app.create_many(&block(), BLOCKED).await).await;

    // Health, and other handlers, those that run already and those that come.
    Client::new(worker.url()).ready().await.expect(200);
    for job in app.all_ended(&app.create_many(&NewJob::sleep(0.1), 5).await).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    // Leases.
    let all = [neighbours.clone(), blocked.clone()].concat();
    let leases = leases(&app, &all).await;
    let renewed = || async {
        let now = self::leases(&app, &all).await;
        if leases.iter().zip(&now).all(|(then, now)| then < now) { Ok(()) } else { Err(format!("{now:?}")) }
    };
    poll::until("all leases to be renewed", SOON, renewed).await.unwrap();
    // A cancel of another run, and of one that blocks.
    cancelled(&app, &neighbours[0]).await;
    cancelled(&app, &blocked[0]).await;
    // Shutdown. What could be told to stop is given back uncharged, as ever.
    let status = worker.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    for job in [&neighbours[1], &blocked[1], &blocked[2]] {
        let run = app.ledger(job).await;
        assert_eq!(
            (run.status, run.charged, run.outcomes()),
            (Status::Queued, 0, vec!["released"]),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn a_blocked_handler_is_ended_at_its_time_and_keeps_its_slot() {
    let app = App::start(one_thread_for_handlers().env("WORKER_CONCURRENCY", BLOCKED + 1)).await;
    let worker = app.stack().worker(0);
    for job in app.all_ended(&app.create_many(&block().timeout_s(1), BLOCKED).await).await {
        assert_eq!((job.status, job.reason.as_deref()), (Status::Cancelled, Some("timeout")), "{job:?}");
    }
    let told = || async { worker.log().tail(1000).matches("it keeps its slot").count() == BLOCKED };
    poll::until("all slots to be kept", SOON, told).await.unwrap();
    // There is one slot left: of two that would run side by side, the second waits for the first.
    let first = app.running(&app.create(&long()).await).await;
    let second = app.create(&NewJob::noop()).await;
    cancelled(&app, &first).await;
    let second = app.ended_within(&second, SOON).await;
    assert!(second.started_at >= app.job(&first).await.ended_at, "{second:?}");
}

#[tokio::test]
async fn a_blocked_attempt_in_a_process_of_its_own_is_killed_when_it_is_cancelled() {
    let held = one_thread_for_handlers().env("FAILPOINTS", "job.attempt.over=1*return(stop)");
    let app = App::start(held.env("RETRY_BASE_S", 0.05)).await;
    let worker = app.stack().worker(0);
    let job = app.create(&block().payload(json!({ "attempts": ["retry", "block"] }))).await;
    worker.paused().await.unwrap();
    // As if it had killed two workers.
    let (run, suspicious) = (doc! { "_id": format!("{}.1", job.id) }, doc! { "$set": { "lost": 2 } });
    assert_eq!(app.runs().await.update_one(run, suspicious).await.unwrap().modified_count, 1);
    worker.resume();

    let pid = worker.pid().unwrap();
    let runs = || async { children(pid).len() == 1 };
    poll::until("the attempt's process", SOON, runs).await.unwrap();
    let cancel = app.request(Method::POST, &format!("/v1/jobs/{}/cancel", job.id));
    assert!([200, 202].contains(&app.send(cancel).await.status));
    let ended = app.ended_within(&job, SOON).await;
    assert_eq!((ended.status, ended.attempt), (Status::Cancelled, 2), "{ended:?}");
    let gone = || async { children(pid).is_empty() };
    poll::until("the attempt's process to be gone", SOON, gone).await.unwrap();
}

/// When the leases of these jobs' first runs end.
async fn leases(app: &App, jobs: &[JobView]) -> Vec<DateTime> {
    let runs = app.runs().await;
    let lease = |job: &JobView| {
        let run = runs.find_one(doc! { "_id": format!("{}.1", job.id), "attempt": 1, "status": "running" });
        async move { *run.await.unwrap().unwrap().get_datetime("lease_until").unwrap() }
    };
    futures::future::join_all(jobs.iter().map(lease)).await
}

/// The processes that this one has started and that still run.
fn children(parent: u32) -> Vec<String> {
    let processes = std::fs::read_dir(Path::new("/proc")).unwrap().flatten();
    let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    let is_child = |stat: &String| {
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next();
        state != Some("Z") && fields.next() == Some(&parent.to_string())
    };
    stats.filter(is_child).collect()
}
