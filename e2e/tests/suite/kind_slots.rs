//! Kinds with slots of their own (`KIND_SLOTS`): slow ones leave room, and what waits for a slot is not charged and not lost.

use std::{collections::HashMap, time::Duration};

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Status};
use serde_json::json;
use stack::{Builder, Stack, poll};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::who_works::shows_worker;

const SOON: Duration = Duration::from_secs(60);

/// For a thousand jobs, beside whatever else a machine does.
const MANY: Duration = Duration::from_secs(300);

/// The due scan alone would need an hour for what these tests expect within a minute.
fn with_slots(limits: &str) -> Builder {
    Stack::builder().api(1).env("WORKER_FAULTS", true).env("KIND_SLOTS", limits).env("WORKER_CONCURRENCY", 8)
}

fn waiting() -> bson::Document {
    doc! { "status": "queued", "attempt": 0, "next_action": "run" }
}

/// Waits until so many runs wait for a slot of their kind.
async fn wait_for_slots(app: &App, count: u64, patience: Duration) {
    let look = || async {
        let found = app.ledger_runs(waiting()).await;
        if found == count { Ok(()) } else { Err(format!("{found}")) }
    };
    poll::until(&format!("{count} runs to wait"), patience, look).await.unwrap();
}

/// When each worker made its attempts, in order.
async fn attempts_by_worker(
    app: &App,
    jobs: &[JobView],
) -> HashMap<String, Vec<(OffsetDateTime, OffsetDateTime)>> {
    let mut by_worker: HashMap<String, Vec<_>> = HashMap::new();
    for job in jobs {
        let attempts = app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
        for attempt in attempts["attempts"].as_array().unwrap() {
            let at = |field: &str| {
                let text = attempt[field].as_str().unwrap_or_else(|| panic!("{attempt}"));
                OffsetDateTime::parse(text, &Rfc3339).unwrap()
            };
            let worker = attempt["worker"].as_str().unwrap().to_owned();
            by_worker.entry(worker).or_default().push((at("started_at"), at("ended_at")));
        }
    }
    by_worker.values_mut().for_each(|attempts| attempts.sort());
    by_worker
}

#[tokio::test]
async fn slow_jobs_of_a_limited_kind_leave_room_and_go_one_by_one() {
    let app = App::start(with_slots("sleep:1").workers(2).env("DUE_SCAN_S", 60)).await;
    let sleeps = app.create_many(&NewJob::sleep(0.2), 50).await;
    let noops = app.create_many(&NewJob::noop(), 50).await;
    let noops = app.all_ended(&noops).await;
    let unfinished = app.ledger_runs(doc! { "kind": "sleep", "status": { "$ne": "finished" } }).await;
    assert!(unfinished > 0, "the jobs without a limit did not have to wait for the others");
    assert!(noops.iter().all(|job| (job.status, job.attempt) == (Status::Finished, 1)));

    let sleeps = app.all_ended(&sleeps).await;
    for job in &sleeps {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    assert_eq!(app.ledger_runs(doc! { "attempt": 1, "charged": 1, "status": "finished" }).await, 100);
    let by_worker = attempts_by_worker(&app, &sleeps).await;
    assert_eq!(by_worker.len(), 2, "both have taken part: {by_worker:?}");
    let mut pauses = Vec::new();
    for attempts in by_worker.values() {
        for pair in attempts.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "two at a time: {pair:?}");
            pauses.push(pair[1].0 - pair[0].1);
        }
    }
    pauses.sort();
    eprintln!(
        "from the end of one to the start of the next: {} at the median, {} at most",
        pauses[pauses.len() / 2],
        pauses.last().unwrap()
    );
}

#[tokio::test]
async fn what_waits_for_a_slot_can_be_cancelled_and_expires() {
    let app = App::start(with_slots("fault:1").workers(1)).await;
    let gate = Gate::new();
    let first = app.running(&app.create(&gate.job()).await).await;
    let (cancelled, last) = (app.create(&gate.job()).await, app.create(&gate.job()).await);
    wait_for_slots(&app, 2, SOON).await;
    // It may be over before it is seen to wait.
    let expired = app.create(&gate.job().with("start_within_s", 2)).await;
    let shown = |worker: &e2e::WorkerView| {
        worker.kind_slots == json!([{ "kind": "fault", "slots": 1, "slots_used": 1 }])
    };
    shows_worker(&app, app.stack().worker(0), "its kind's slots", shown).await;
    app.post(&format!("/v1/jobs/{}/cancel", cancelled.id), &json!({})).await.expect(200);
    for (job, reason) in [(&cancelled, "requested"), (&expired, "expired")] {
        let job = app.ended(job).await;
        assert_eq!((job.status, job.attempt, job.reason.as_deref()), (Status::Cancelled, 0, Some(reason)));
    }
    gate.open();
    for job in app.all_ended(&[first, last]).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
}

#[tokio::test]
async fn a_worker_with_a_free_slot_takes_what_waits_at_another_that_died() {
    let mut app = App::start(with_slots("fault:1").workers(1).env("LEASE_S", 2)).await;
    let gate = Gate::new();
    let jobs = app.create_many(&gate.job(), 6).await;
    wait_for_slots(&app, 5, SOON).await;
    app.stack().worker(0).kill().await.unwrap();
    app.add_worker().await;
    gate.open();
    let ended = app.all_ended(&jobs).await;
    assert!(ended.iter().all(|job| job.status == Status::Finished), "{ended:?}");
    assert_eq!(app.ledger_runs(doc! { "attempt": 1, "charged": 1 }).await, 5, "one lost its lease");
}

#[tokio::test]
async fn once_comes_to_an_end_when_what_waited_for_slots_is_done() {
    let app = App::start(with_slots("sleep:2").workers(0)).await;
    let mut jobs = app.create_many(&NewJob::sleep(0.01), 9).await;
    jobs.extend(app.create_many(&NewJob::noop(), 3).await);
    let announced = || async { app.stream("JOBS").await.cached_info().state.messages == 12 };
    poll::until("all to be announced", SOON, announced).await.unwrap();
    let worker = app.stack().run_worker_once(0).await.unwrap();
    let status = tokio::time::timeout(SOON, worker.wait()).await.expect("an end").unwrap();
    assert_eq!(status.code(), Some(0), "{}", worker.log().tail(30));
    assert_eq!(app.ledger_runs(doc! { "attempt": 1, "status": "finished" }).await, 12);
}

/// The bound is `MOST` in `job-service/src/worker/kind_slots/room.rs`.
#[tokio::test]
async fn beyond_a_thousand_that_wait_their_queue_waits_and_other_queues_do_not() {
    let builder = with_slots("fault:1").workers(1).env("WORKER_QUEUES", "default,other");
    let app = App::start(builder).await;
    let gate = Gate::new();
    let jobs = app.create_many(&gate.job(), 1100).await;
    wait_for_slots(&app, 1000, MANY).await;
    // These are behind the others of their queue.
    let behind = app.create_many(&NewJob::noop(), 3).await;
    let other = app.create_many(&NewJob::noop().queue("other"), 20).await;
    let other = app.all_ended(&other).await;
    assert!(other.iter().all(|job| job.status == Status::Finished));
    assert_eq!(app.ledger_runs(waiting()).await, 1000);
    // Every announcement that was taken is acked, or the worker would get it again and again.
    let quiet = || async { app.stream("JOBS").await.cached_info().state.messages == 102 };
    poll::until("the rest to stay in the stream", MANY, quiet).await.unwrap();

    gate.open();
    for job in jobs.iter().chain(&behind) {
        let job = app.ended_within(job, MANY).await;
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
}
