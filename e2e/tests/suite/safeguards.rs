//! What the safeguards are for, shown by their absence: each scenario goes wrong with its safeguard
//! switched off, and right with it on.

use std::time::Duration;

use bson::doc;
use e2e::{App, HISTORY, JobView, NewJob, Status};
use reqwest::Method;
use stack::{Builder, Stack, poll};

const PATIENCE: Duration = Duration::from_secs(120);

/// How long a job that nobody moves on is watched standing still, in seconds.
const STANDS_STILL_S: u64 = 10;

/// A stack whose healing is quick, with or without one safeguard.
fn quick(safeguard: &str, is_on: bool) -> Builder {
    let stack = Stack::builder().api(1).workers(1).env("LEASE_S", 1).env("RELAY_AFTER_S", 0.3);
    let stack = stack.env("RELAY_SCAN_S", 0.2).env("DUE_SCAN_S", 0.2).env("RECONCILE_S", 0.3);
    stack.env("SAFEGUARDS_OFF", if is_on { "" } else { safeguard })
}

/// Whether anybody moves the job on: it is waited for with patience where that is expected, and watched for a while
/// where it is not.
async fn is_moved_on(app: &App, job: &JobView, is_expected: bool) -> bool {
    if is_expected {
        return app.ended_within(job, PATIENCE).await.status.is_terminal();
    }
    app.job_within(job, STANDS_STILL_S).await.status.is_terminal()
}

async fn with_and_without<F: Future<Output = bool>>(safeguard: &str, goes_right: impl Fn(bool) -> F) {
    assert!(goes_right(true).await, "{safeguard} is on, and it went wrong all the same");
    assert!(!goes_right(false).await, "{safeguard} is off, and nothing went wrong");
}

#[tokio::test]
async fn the_fence_keeps_a_paused_worker_from_changing_what_its_successor_did() {
    with_and_without("fence", async |is_on: bool| {
        // Whoever runs it stands still between the handler's end and the write of its outcome.
        let held = quick("fence", is_on).workers(2).env("WORKER_HISTORY_DIR", HISTORY);
        let held = held.env("FAILPOINTS", "job.attempt.over=1*return(stop)");
        let app = App::start(held).await;
        // Each attempt's result is a random number, so that they can be told apart.
        let random = NewJob::of_kind("sleep").payload(serde_json::json!({ "min_s": 0.1, "max_s": 0.9 }));
        let job = app.create(&random).await;
        let [first, second] = [app.stack().worker(0), app.stack().worker(1)];
        let one_stands = || async { first.is_paused() || second.is_paused() };
        poll::until("the first attempt to be over", PATIENCE, one_stands).await.unwrap();
        let (first, second) = if first.is_paused() { (first, second) } else { (second, first) };
        // The other one takes over when the lease has ended.
        second.paused().await.unwrap();
        second.resume();
        let ended = app.ended_within(&job, PATIENCE).await;
        assert_eq!((ended.status, ended.attempt), (Status::Finished, 2));
        let before = app.ledger(&job).await.result;
        first.resume();
        let acted = || async {
            let is_other = app.ledger(&job).await.result != before;
            let refused = ["refused", "lease_lost"].iter().any(|event| app.history(&job, event) == [1]);
            is_other || refused
        };
        poll::until("the older attempt to write", PATIENCE, acted).await.unwrap();
        app.ledger(&job).await.result == before
    })
    .await;
}

#[tokio::test]
async fn the_relays_scan_announces_what_a_crash_left_behind() {
    with_and_without("relay_scan", async |is_on: bool| {
        let app = App::start(quick("relay_scan", is_on)).await;
        let api = app.stack().api(0);
        api.kill().await.unwrap();
        api.set_env("FAILPOINTS", "api.create.stored=return");
        api.start().await.unwrap();
        let _ = app.try_send(app.request(Method::POST, "/v1/jobs").json(&NewJob::noop())).await;
        poll::until("the replica to die", PATIENCE, || async { !api.is_running() }).await.unwrap();
        api.set_env("FAILPOINTS", "");
        api.start().await.unwrap();
        let jobs = app.get("/v1/jobs").await.expect(200).json();
        let job: JobView = serde_json::from_value(jobs["jobs"][0].clone()).unwrap();
        is_moved_on(&app, &job, is_on).await
    })
    .await;
}

#[tokio::test]
async fn the_reconciler_announces_again_what_the_broker_lost() {
    with_and_without("reconciler", async |is_on: bool| {
        let app = App::start(quick("reconciler", is_on)).await;
        app.stack().worker(0).kill().await.unwrap();
        let job = app.create(&NewJob::noop()).await;
        let is_noted = || async { app.stored_jobs(doc! { "next_action": "check" }).await == 1 };
        poll::until("the announcement to be noted", PATIENCE, is_noted).await.unwrap();
        app.stack().nats().kill().await.unwrap();
        std::fs::remove_dir_all(app.stack().folder().join("nats/jetstream")).unwrap();
        app.stack().nats().start().await.unwrap();
        app.stack().worker(0).start().await.unwrap();
        is_moved_on(&app, &job, is_on).await
    })
    .await;
}

#[tokio::test]
async fn the_due_scan_takes_over_ended_leases() {
    with_and_without("ended_leases", async |is_on: bool| {
        let app = App::start(quick("ended_leases", is_on).workers(2).env("WORKER_FAULTS", true)).await;
        let job = app.running(&app.create(&NewJob::hangs_once()).await).await;
        // Before that its announcement would come again.
        let is_acked = || async { app.stream("JOBS").await.cached_info().state.messages == 0 };
        poll::until("its announcement to be acked", PATIENCE, is_acked).await.unwrap();
        app.stack().worker(app.worker_of(&job)).kill().await.unwrap();
        is_moved_on(&app, &job, is_on).await
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_ends_a_run_that_was_cancelled_before_it_was_announced() {
    with_and_without("tombstone", async |is_on: bool| {
        let app = App::start(quick("tombstone", is_on)).await;
        app.stack().nats().kill().await.unwrap();
        app.nats_is_missed().await;
        let job = app.create(&NewJob::noop()).await;
        app.send(app.request(Method::POST, &format!("/v1/jobs/{}/cancel", job.id))).await.expect(202);
        app.stack().nats().start().await.unwrap();
        is_moved_on(&app, &job, is_on).await
    })
    .await;
}

#[tokio::test]
async fn the_unique_indexes_let_one_job_through() {
    with_and_without("unique_indexes", async |is_on: bool| {
        let app = App::start(quick("unique_indexes", is_on)).await;
        let job = NewJob::noop().object("one");
        futures::future::join_all((0..20).map(|_| app.try_create(&job))).await;
        app.stored_jobs(doc! {}).await == 1
    })
    .await;
}
