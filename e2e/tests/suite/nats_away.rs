//! What the ledger heals without the broker.

use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, NewJob};
use serde_json::json;
use stack::{Stack, poll};

/// Much less than the pause of the retries.
const SOON: Duration = Duration::from_secs(120);

#[tokio::test]
async fn runs_of_a_dead_worker_do_not_wait_behind_retries_that_nobody_could_announce() {
    let builder = Stack::builder().api(1).workers(2).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 600);
    let app = App::start(builder.env("LEASE_S", 2).env("RELAY_AFTER_S", 0.5)).await;
    let payload = json!({ "attempts": ["retry"], "pause_s": 4 });
    let failing = app.create_many(&NewJob::of_kind("fault").payload(payload), 140).await;
    let gate = Gate::new();
    let held = app.create_many(&gate.job(), 10).await;
    let held = app.all_running(&held).await;
    poll::until("all to be claimed", SOON, || async { app.ledger_runs(doc! {}).await == 150 }).await.unwrap();
    app.stack().nats().kill().await.unwrap();
    let now = bson::DateTime::now;
    let overdue = || async {
        let left = doc! { "next_action": "announce_and_run", "next_action_at": { "$lt": now() }, "next_at": { "$gt": now() } };
        app.ledger_runs(left).await > 100
    };
    poll::until(&format!("{} retries that are not announced", failing.len()), SOON, overdue).await.unwrap();

    app.stack().worker(app.worker_of(&held[0])).kill().await.unwrap();
    let taken_over = || async {
        let lost = app.ledger_runs(doc! { "status": "running", "lease_until": { "$lt": now() } }).await;
        let second = app.ledger_runs(doc! { "status": "running", "attempt": 2, "lost": 1 }).await;
        if lost == 0 && second > 0 { Ok(()) } else { Err(format!("{lost} lost, {second} taken over")) }
    };
    poll::until("the dead worker's runs to be taken over", SOON, taken_over).await.unwrap();
}
