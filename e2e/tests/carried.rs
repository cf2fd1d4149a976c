//! Runs that their unacked announcements carry: neither the scan for ended leases nor an outbox mark stands behind them.

use std::time::Duration;

use bson::doc;
use e2e::{App, NewJob, Status};
use stack::{Stack, poll};

const PATIENCE: Duration = Duration::from_secs(30);

/// How many runs the ledger looks after.
async fn cared_for(app: &App) -> u64 {
    app.ledger_runs(doc! { "due": { "$exists": true } }).await
}

/// How many announcements are not acked.
async fn unacked(app: &App) -> u64 {
    app.stream("JOBS").await.cached_info().state.messages
}

#[tokio::test]
async fn a_worker_that_dies_early_leaves_its_run_to_the_broker() {
    // The scan for ended leases is off, so that only the announcement can help.
    let stack = Stack::builder().api(1).workers(2).env("LEASE_S", 12).env("SAFEGUARDS_OFF", "ended_leases");
    let app = App::start(stack).await;
    let job = app.running(&app.create(&NewJob::sleep(3.0)).await).await;
    assert_eq!(
        (cared_for(&app).await, unacked(&app).await),
        (0, 1),
        "the first renewal comes after four seconds"
    );
    let worker = app.worker_of(&job);
    app.stack().worker(worker).kill().await.unwrap();
    let job = app.ended_within(&job, PATIENCE).await;
    assert_eq!((job.status, job.attempt, app.worker_of(&job)), (Status::Finished, 2, 1 - worker));
    assert_eq!(app.ledger(&job).await.outcomes(), ["lost", "finished"]);
    poll::until("the announcement to be acked", PATIENCE, || async { unacked(&app).await == 0 })
        .await
        .unwrap();
    // What is delivered again is claimed into the ledger's care.
    poll::until("the mark to come off", PATIENCE, || async { cared_for(&app).await == 0 }).await.unwrap();
}

#[tokio::test]
async fn the_first_renewal_puts_a_run_into_the_ledgers_care() {
    let app = App::start(Stack::builder().api(1).workers(1).env("LEASE_S", 6)).await;
    let job = app.running(&app.create(&NewJob::sleep(8.0)).await).await;
    assert_eq!(
        (cared_for(&app).await, unacked(&app).await),
        (0, 1),
        "the first renewal comes after two seconds"
    );
    poll::until("the announcement to be acked", PATIENCE, || async { unacked(&app).await == 0 })
        .await
        .unwrap();
    assert_eq!(cared_for(&app).await, 1);
    assert_eq!(app.ended_within(&job, PATIENCE).await.attempt, 1);
    poll::until("the mark to come off", PATIENCE, || async { cared_for(&app).await == 0 }).await.unwrap();
}

#[tokio::test]
async fn an_end_that_the_broker_did_not_hear_of_is_left_to_the_scan() {
    // The announcement comes again only after the lease, which is longer than this test waits.
    let stack = Stack::builder().api(1).workers(1).env("LEASE_S", 120).env("RELAY_SCAN_S", 0.2);
    let app = App::start(stack.env("RELAY_AFTER_S", 0.5)).await;
    let job = app.running(&app.create(&NewJob::sleep(2.0)).await).await;
    app.stack().nats().kill().await.unwrap();
    let is_marked =
        || async { app.ledger_runs(doc! { "status": "finished", "duty": "announce" }).await == 1 };
    poll::until("the end to be left to the scan", PATIENCE, is_marked).await.unwrap();
    app.stack().nats().start().await.unwrap();
    let job = app.ended_within(&job, PATIENCE).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    poll::until("the mark to come off", PATIENCE, || async { cared_for(&app).await == 0 }).await.unwrap();
}
