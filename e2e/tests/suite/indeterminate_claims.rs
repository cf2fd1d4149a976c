//! Claims whose answer is lost: the ledger has them, and the worker that made them does not know. They are gone on
//! with under the same attempt, long before their lease ends, and nobody pays for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bson::{DateTime, doc};
use e2e::{App, Gate, HISTORY, NewJob, Status};
use lab::proxy::Proxy;
use stack::{Builder, Stack, poll};

/// So long that whatever waits for its end is noticed.
const LEASE_S: u64 = 600;
const SOON: Duration = Duration::from_secs(60);

/// What only the claim of a run that the ledger knows already has in it: in its filter, a flag that is null.
const CLAIM_OF_A_KNOWN_RUN: &[&str] = &["\ncancel_requested\0"];
const FIRST_CLAIM: &[&str] = &["insert\0"];

#[tokio::test]
async fn a_retry_whose_claim_was_not_answered_runs_at_once_and_is_charged_once() {
    let (builder, proxies) = behind_a_proxy(CLAIM_OF_A_KNOWN_RUN);
    let app = App::start(builder.workers(2).env("RETRY_BASE_S", 0.1)).await;
    the_proxy(&proxies, |proxy| proxy.cut_before_reply(1));
    let ended = app.ended_within(&app.create(&NewJob::fault(&["retry", "done"])).await, SOON).await;
    assert_eq!(the_proxy(&proxies, Proxy::replies_cut), 1);
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2), "{ended:?}");
    let run = app.ledger(&ended).await;
    assert_eq!((run.charged, run.lost), (2, 0), "{run:?}");
    assert_eq!(run.outcomes(), ["failed", "finished"]);
    assert_eq!(app.history(&ended, "started"), [1, 2]);
    assert_eq!(app.history(&ended, "recovered"), [2]);
}

#[tokio::test]
async fn a_first_claim_that_was_not_answered_needs_no_second_announcement() {
    let (builder, proxies) = behind_a_proxy(FIRST_CLAIM);
    let app = App::start(builder.workers(1)).await;
    the_proxy(&proxies, |proxy| proxy.cut_before_reply(1));
    let job = app.create(&NewJob::noop()).await;
    let cut = || async { the_proxy(&proxies, Proxy::replies_cut) == 1 };
    poll::until("the claim's reply to be cut", SOON, cut).await.unwrap();
    // As if another worker had got the announcement and had left the run, whose lease lives, to its owner.
    app.stream("JOBS").await.purge().await.unwrap();
    let ended = app.ended_within(&job, SOON).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 1), "{ended:?}");
    let run = app.ledger(&ended).await;
    assert_eq!((run.charged, run.lost, run.outcomes()), (1, 0, vec!["finished"]));
    assert_eq!(app.history(&ended, "started"), [1]);
}

#[tokio::test]
async fn a_claim_that_was_not_answered_keeps_its_lease_while_no_slot_is_free() {
    let (builder, proxies) = behind_a_proxy(FIRST_CLAIM);
    let mut app = App::start(builder.workers(1).env("WORKER_CONCURRENCY", 1).env("LEASE_S", 8)).await;
    the_proxy(&proxies, |proxy| proxy.cut_before_reply(1));
    // Mostly the second one gets the slot that the first one's claim has lost, and keeps it for longer than a lease.
    let gate = Gate::new();
    let jobs = app.create_many(&gate.job(), 2).await;
    let runs = || async { jobs.iter().any(|job| app.history(job, "started") == [1]) };
    poll::until("one of them to run", SOON, runs).await.unwrap();
    // It would take over what nobody keeps.
    app.add_worker().await;
    let a_lease_later = DateTime::from_millis(DateTime::now().timestamp_millis() + 2 * 8_000);
    let kept = || async {
        let kept = doc! { "status": "running", "attempt": 1, "lease_until": { "$gt": a_lease_later } };
        app.ledger_runs(kept).await == 2
    };
    poll::until("both leases to be kept for longer than they were made for", SOON, kept).await.unwrap();
    gate.open();
    for ended in app.all_ended(&jobs).await {
        assert_eq!((ended.status, ended.attempt), (Status::Finished, 1), "{ended:?}");
        let run = app.ledger(&ended).await;
        assert_eq!((run.charged, run.lost), (1, 0), "{run:?}");
        assert_eq!(app.history(&ended, "started"), [1]);
    }
    assert_eq!(the_proxy(&proxies, Proxy::replies_cut), 1);
}

#[tokio::test]
async fn claims_under_way_while_the_ledger_hangs_charge_nobody() {
    // The hang is shorter than a lease, and longer.
    futures::future::join_all([LEASE_S, 5].map(hang_of_the_ledger)).await;
}

async fn hang_of_the_ledger(lease_s: u64) {
    let builder = with_histories().env("LEASE_S", lease_s).env("RETRY_BASE_S", 0.5);
    let app = App::start(builder.workers(2)).await;
    let failing = app.create_many(&NewJob::fault(&["retry", "done"]), 20).await;
    let mongo = app.stack().job_mongo();
    assert!(mongo.pause());
    let waiting = app.create_many(&NewJob::noop(), 20).await;
    // The outage itself, not a wait for anything: longer than a worker waits for an answer.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(mongo.resume());
    for job in [failing, waiting].concat() {
        let ended = app.ended_within(&job, 2 * SOON).await;
        let attempts = if ended.kind == "fault" { 2 } else { 1 };
        assert_eq!((ended.status, ended.attempt), (Status::Finished, attempts), "{ended:?}");
        let run = app.ledger(&ended).await;
        assert_eq!((run.charged, run.lost), (attempts, 0), "{run:?}");
        assert_eq!(app.history(&ended, "started"), (1..=attempts).collect::<Vec<_>>(), "{ended:?}");
    }
}

type Proxies = Arc<Mutex<Vec<Proxy>>>;

/// A stack whose workers reach the ledger through a proxy that knows a write by these markers.
fn behind_a_proxy(markers: &'static [&'static str]) -> (Builder, Proxies) {
    let proxies = Proxies::default();
    let kept = proxies.clone();
    let route = move |name: &str, url: &str| {
        if name != "job-mongo" {
            return url.to_owned();
        }
        let proxy = Proxy::start(url, markers).unwrap();
        let url = proxy.url();
        kept.lock().unwrap().push(proxy);
        url
    };
    (with_histories().route(route), proxies)
}

fn with_histories() -> Builder {
    let builder = Stack::builder().api(1).env("LEASE_S", LEASE_S).env("WORKER_FAULTS", true);
    builder.env("WORKER_HISTORY_DIR", HISTORY)
}

fn the_proxy<T>(proxies: &Proxies, act: impl FnOnce(&Proxy) -> T) -> T {
    act(&proxies.lock().unwrap()[0])
}
