//! Runs that their unacked announcements carry: neither the scan for ended leases nor an outbox mark stands behind them.

use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Status};
use stack::{Builder, Stack, poll};

const PATIENCE: Duration = Duration::from_secs(120);

fn with_faults(workers: usize) -> Builder {
    Stack::builder().api(1).workers(workers).env("WORKER_FAULTS", true)
}

/// How many runs the ledger looks after.
async fn with_time(app: &App) -> u64 {
    app.ledger_runs(doc! { "next_action_at": { "$exists": true } }).await
}

/// How many announcements are not acked.
async fn unacked(app: &App) -> u64 {
    app.stream("JOBS").await.cached_info().state.messages
}

/// Everything is acked, and the ledger has nothing to look after.
async fn nothing_left(app: &App) {
    let nothing = || async { (with_time(app).await, unacked(app).await) == (0, 0) };
    poll::until("nothing to be left", PATIENCE, nothing).await.expect("nothing to be left");
}

#[tokio::test]
async fn a_worker_that_dies_early_leaves_its_run_to_the_broker() {
    // The scan for ended leases is off, so that only the announcement can help.
    let stack = Stack::builder().api(1).workers(2).env("LEASE_S", 3).env("SAFEGUARDS_OFF", "ended_leases");
    let app = App::start(stack.env("FAILPOINTS", "job.claim.stored=1*return(stop)")).await;
    let job = app.create(&NewJob::noop()).await;
    let stands = |worker: usize| app.stack().worker(worker).is_paused();
    poll::until("one to claim it", PATIENCE, || async { stands(0) || stands(1) }).await.unwrap();
    let worker = if stands(0) { 0 } else { 1 };
    assert_eq!((with_time(&app).await, unacked(&app).await), (0, 1), "its announcement carries it");
    app.stack().worker(worker).kill().await.unwrap();
    let other = app.stack().worker(1 - worker);
    other.paused().await.unwrap();
    other.resume();
    let job = app.ended_within(&job, PATIENCE).await;
    assert_eq!((job.status, job.attempt, app.worker_of(&job)), (Status::Finished, 2, 1 - worker));
    assert_eq!(app.ledger(&job).await.outcomes(), ["lost", "finished"]);
    nothing_left(&app).await;
}

#[tokio::test]
async fn the_first_renewal_puts_a_run_into_the_ledgers_care() {
    let app = App::start(with_faults(1).env("LEASE_S", 6)).await;
    let gate = Gate::new();
    let job = app.running(&app.create(&gate.job()).await).await;
    poll::until("the announcement to be acked", PATIENCE, || async { unacked(&app).await == 0 })
        .await
        .unwrap();
    assert_eq!(with_time(&app).await, 1);
    gate.open();
    let job = app.ended_within(&job, PATIENCE).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    nothing_left(&app).await;
}

#[tokio::test]
async fn an_end_that_the_broker_did_not_hear_of_is_left_to_the_scan() {
    // The announcement comes again only after the lease, which is longer than this test waits.
    let stack = with_faults(1).env("LEASE_S", 600).env("RELAY_SCAN_S", 0.2);
    let app = App::start(stack.env("RELAY_AFTER_S", 0.5)).await;
    let gate = Gate::new();
    let job = app.running(&app.create(&gate.job()).await).await;
    app.stack().nats().kill().await.unwrap();
    gate.open();
    let is_marked =
        || async { app.ledger_runs(doc! { "status": "finished", "next_action": "announce" }).await == 1 };
    poll::until("the end to be left to the scan", PATIENCE, is_marked).await.unwrap();
    app.stack().nats().start().await.unwrap();
    let job = app.ended_within(&job, PATIENCE).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    poll::until("the mark to come off", PATIENCE, || async { with_time(&app).await == 0 }).await.unwrap();
}

#[tokio::test]
async fn an_ack_over_a_later_connection_does_not_hit_another_jobs_announcement() {
    an_ack_stays_with_its_store(async |app, create| {
        app.stack().nats().kill().await.unwrap();
        std::fs::remove_dir_all(app.stack().folder().join("nats/jetstream")).unwrap();
        let others = create.await;
        app.stack().nats().start().await.unwrap();
        others
    })
    .await;
}

#[tokio::test]
async fn an_ack_to_a_stream_that_was_made_anew_does_not_hit_another_jobs_announcement() {
    an_ack_stays_with_its_store(async |app, create| {
        app.jetstream().await.delete_stream("JOBS").await.unwrap();
        create.await
    })
    .await;
}

/// `lose` makes an end of the store, and has other jobs created before the first is announced again: in the new store
/// their announcements have the numbers that the first one's had in the old one.
async fn an_ack_stays_with_its_store(
    lose: impl AsyncFnOnce(&App, futures::future::BoxFuture<'_, Vec<JobView>>) -> Vec<JobView>,
) {
    // Runs are renewed late, so that they end while their announcements still carry them.
    let stack = with_faults(2).env("LEASE_S", 900).env("RECONCILE_S", 0.3);
    let app = App::start(stack.env("RELAY_AFTER_S", 0.5).env("SILENT_AFTER_S", 600)).await;
    let (first_gate, gate) = (Gate::new(), Gate::new());
    let first = app.running(&app.create(&first_gate.job()).await).await;
    let worker = app.worker_of(&first);
    app.stack().worker(1 - worker).pause();
    let job = gate.job();
    let others = lose(&app, Box::pin(app.create_many(&job, 3))).await;
    let others = app.all_running(&others).await;
    assert!(others.iter().all(|job| app.worker_of(job) == worker));
    poll::until("the first to be announced again", PATIENCE, || async { unacked(&app).await == 4 })
        .await
        .expect("it is announced again");
    first_gate.open();
    let first = app.ended_within(&first, PATIENCE).await;
    assert_eq!((first.status, first.attempt), (Status::Finished, 1));
    assert_eq!(
        (with_time(&app).await, unacked(&app).await),
        (0, 4),
        "all are brought on by their announcements"
    );
    app.stack().worker(1 - worker).resume();
    gate.open();
    for job in app.all_ended(&others).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    }
}

#[tokio::test]
async fn the_broker_waits_as_long_as_the_lease_is_now() {
    let app = App::start(Stack::builder().api(1).workers(1).env("LEASE_S", 60)).await;
    let ack_wait = || async {
        let jobs = app.stream("JOBS").await;
        jobs.consumer_info("workers-default-normal").await.unwrap().config.ack_wait
    };
    app.ended(&app.create(&NewJob::noop()).await).await;
    assert_eq!(ack_wait().await, Duration::from_secs(61));
    let worker = app.stack().worker(0);
    worker.kill().await.unwrap();
    worker.set_env("LEASE_S", "5");
    worker.start().await.unwrap();
    app.ended_within(&app.create(&NewJob::noop()).await, PATIENCE).await;
    assert_eq!(ack_wait().await, Duration::from_secs(6));
}
