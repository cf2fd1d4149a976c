//! `POST /v1/workers/{id}/drain` and `…/resume`: a drained worker finishes what it runs and takes nothing new.

use std::time::Duration;

use bson::doc;
use e2e::{Answer, App, Gate, NewJob, Status, WorkerView};
use serde_json::json;
use stack::{Node, Stack, poll};

use crate::who_works::{shows_worker, workers};

const SOON: Duration = Duration::from_secs(60);

async fn tell(app: &App, id: &str, command: &str) -> Answer {
    app.post(&format!("/v1/workers/{id}/{command}"), &json!({})).await
}

async fn state(app: &App, id: &str, command: &str, status: u16) -> String {
    let worker: WorkerView = tell(app, id, command).await.expect(status).read();
    assert_eq!(worker.id, id);
    worker.state
}

/// Drains a worker that has nothing to do, and waits until it is.
async fn drain(app: &App, node: &Node) -> WorkerView {
    let id = shows_worker(app, node, "there", |_| true).await.id;
    let answer = tell(app, &id, "drain").await;
    assert!([200, 202].contains(&answer.status), "{answer:?}");
    shows_worker(app, node, "drained", |worker| worker.state == "drained").await
}

#[tokio::test]
async fn a_drained_worker_finishes_what_it_runs_and_takes_nothing_new_until_it_resumes() {
    let builder = Stack::builder().api(2).workers(2).env("WORKER_FAULTS", true);
    let app = App::start(builder.env("WORKER_CONCURRENCY", 4)).await;
    let gate = Gate::new();
    let running = app.running(&app.create(&gate.job()).await).await;
    let (drained, other) = (app.worker_of(&running), 1 - app.worker_of(&running));
    let node = app.stack().worker(drained);
    let id = shows_worker(&app, node, "there", |_| true).await.id;

    assert_eq!(state(&app, &id, "drain", 202).await, "draining");
    for job in app.all_ended(&app.create_many(&NewJob::noop(), 40).await).await {
        assert_eq!((job.status, app.worker_of(&job)), (Status::Finished, other), "{job:?}");
    }
    let still = app.job(&running).await;
    assert_eq!(still.status, Status::Running, "what it had begun goes on");
    gate.open();
    let ended = app.ended(&running).await;
    assert_eq!((ended.status, ended.attempt, app.worker_of(&ended)), (Status::Finished, 1, drained));
    for replica in [app.replica(0), app.replica(1)] {
        shows_worker(&replica, node, "drained", |worker| worker.state == "drained").await;
    }
    assert_eq!(state(&app, &id, "drain", 200).await, "drained", "asking again does no harm");

    // It stays so, whatever its connections do.
    app.stack().nats().kill().await.unwrap();
    app.nats_is_missed().await;
    app.stack().nats().start().await.unwrap();
    for job in app.all_ended(&app.create_many(&NewJob::noop(), 40).await).await {
        assert_eq!(app.worker_of(&job), other, "{job:?}");
    }
    let seen = |worker: &WorkerView| worker.state == "drained" && worker.slots_used == 0;
    shows_worker(&app, node, "drained as before", seen).await;

    assert_eq!(state(&app, &id, "resume", 200).await, "running");
    assert_eq!(state(&app, &id, "resume", 200).await, "running");
    drain(&app, app.stack().worker(other)).await;
    for job in app.all_ended(&app.create_many(&NewJob::noop(), 40).await).await {
        assert_eq!(app.worker_of(&job), drained, "{job:?}");
    }
}

#[tokio::test]
async fn a_drained_worker_leaves_retries_and_what_the_dead_had_to_others() {
    let builder = Stack::builder().api(1).workers(2).env("WORKER_FAULTS", true);
    let builder = builder.env("LEASE_S", 1).env("RETRY_BASE_S", 0.01).env("DUE_SCAN_S", 0.1);
    // The one that dies does not look for retries before that.
    let mut app = App::start(builder.worker_env(1, "DUE_SCAN_S", 60)).await;
    let (drained, dies) = (app.stack().worker(0).clone(), app.stack().worker(1).clone());
    drain(&app, &drained).await;

    let lost = app.running(&app.create(&NewJob::hangs_once()).await).await;
    let retried = app.create(&NewJob::fault(&["retry", "done"])).await;
    let waits = doc! { "status": "queued", "attempt": 1 };
    let due = || async {
        let due = doc! { "next_at": { "$lte": bson::DateTime::now() } };
        app.ledger_runs(doc! { "$and": [waits.clone(), due] }).await == 1
    };
    poll::until("the retry to be due", SOON, due).await.unwrap();
    dies.kill().await.unwrap();

    let third = app.add_worker().await;
    for job in app.all_ended(&[lost, retried]).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 2), "{job:?}");
        assert!(job.is_by(third.pid().unwrap()), "{job:?}");
    }
}

#[tokio::test]
async fn who_is_not_there_can_not_be_told_anything() {
    let app = App::start(Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let worker = app.stack().worker(0);
    let id = shows_worker(&app, worker, "there", |_| true).await.id;
    for command in ["drain", "resume"] {
        for unknown in ["nobody", "a%20b", "%F0%9F%90%9D"] {
            let problem = tell(&app, unknown, command).await.expect(404).problem();
            assert_eq!(problem.code, "worker_not_found");
        }
    }

    // One that is about to end takes nothing either, and can not be had back.
    let gate = Gate::new();
    app.running(&app.create(&gate.job()).await).await;
    worker.signal(stack::Signal::SIGTERM);
    assert_eq!(state(&app, &id, "drain", 202).await, "stopping");
    assert_eq!(tell(&app, &id, "resume").await.expect(409).problem().code, "worker_stopping");
    gate.open();
    worker.wait().await.unwrap();
    let gone = || async { workers(&app).await.workers.is_empty() };
    poll::until("the worker to be gone", SOON, gone).await.unwrap();
    assert_eq!(tell(&app, &id, "drain").await.expect(404).problem().code, "worker_not_found");
}

/// A worker that hangs is not gone yet, and says nothing.
#[tokio::test]
async fn a_worker_that_hangs_does_not_answer() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let worker = app.stack().worker(0);
    let id = shows_worker(&app, worker, "there", |_| true).await.id;
    assert!(worker.pause());
    let problem = tell(&app, &id, "drain").await.expect(503).problem();
    assert_eq!(problem.code, "worker_silent");
    worker.resume();
    // What it was told meanwhile, it does.
    shows_worker(&app, worker, "drained", |worker| worker.state == "drained").await;
}
