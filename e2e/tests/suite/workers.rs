//! Several workers, one queue: who takes what, and when.

use std::collections::HashMap;
use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Status};
use stack::{Builder, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

fn with_slots(slots: usize) -> Builder {
    Stack::builder().api(2).env("WORKER_FAULTS", true).env("WORKER_CONCURRENCY", slots)
}

#[tokio::test]
async fn three_hundred_jobs_are_run_once_each_by_three_workers() {
    let app = App::start(with_slots(10).workers(3)).await;
    let gate = Gate::new();
    let mut created = app.create_many(&gate.job(), 30).await;
    // All slots are taken then.
    app.all_running(&created).await;
    created.extend(app.create_many(&gate.job(), 270).await);
    gate.open();

    let ended = app.all_ended(&created).await;
    for job in &ended {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    assert_eq!(app.ledger_runs(doc! {}).await, 300);
    assert_eq!(app.ledger_runs(doc! { "attempt": 1, "charged": 1, "status": "finished" }).await, 300);
    let shares = shares(&app, &ended);
    assert_eq!(shares.len(), 3, "jobs of each worker: {shares:?}");
}

#[tokio::test]
async fn a_worker_that_joins_late_takes_part() {
    let mut app = App::start(with_slots(2).workers(1)).await;
    let gate = Gate::new();
    let created = app.create_many(&gate.job(), 4).await;
    let running = || async { app.ledger_runs(doc! { "status": "running" }).await == 2 };
    poll::until("all slots to be taken", SOON, running).await.expect("two to run");
    app.add_worker().await;
    let running = app.all_running(&created).await;
    assert_eq!(shares(&app, &running), HashMap::from([(0, 2), (1, 2)]));

    gate.open();
    let ended = app.all_ended(&created).await;
    assert!(ended.iter().all(|job| (job.status, job.attempt) == (Status::Finished, 1)));
}

#[tokio::test]
async fn what_is_more_urgent_starts_first() {
    let app = App::start(with_slots(1).workers(1)).await;
    let gate = Gate::new();
    app.running(&app.create(&gate.job()).await).await;
    let short = NewJob::sleep(0.05);
    let mut waiting = Vec::new();
    for priority in ["low", "normal", "normal", "low", "high", "high"] {
        waiting.push(app.create(&short.clone().priority(priority)).await);
    }
    let announced = || async {
        let jobs = app.stream("JOBS").await;
        jobs.cached_info().state.last_sequence == 7
    };
    poll::until("all to be announced", SOON, announced).await.expect("seven announcements");
    gate.open();

    let mut ended = app.all_ended(&waiting).await;
    ended.sort_by_key(|job| job.started_at);
    let order: Vec<_> = ended.iter().map(|job| job.priority.as_str()).collect();
    assert_eq!(order, ["high", "high", "normal", "normal", "low", "low"]);
}

#[tokio::test]
async fn a_worker_takes_only_from_its_queues() {
    let builder = Stack::builder().api(1).workers(2);
    let builder =
        builder.worker_env(0, "WORKER_QUEUES", "default").worker_env(1, "WORKER_QUEUES", "mail,post");
    let app = App::start(builder).await;
    for (queue, worker) in [("default", 0), ("mail", 1), ("post", 1), ("mail", 1)] {
        let ended = app.ended(&app.create(&NewJob::noop().queue(queue)).await).await;
        assert_eq!((ended.status, ended.queue.as_str()), (Status::Finished, queue));
        assert_eq!(app.worker_of(&ended), worker, "{queue}");
    }
}

/// How many jobs each worker did, by its index.
fn shares(app: &App, jobs: &[JobView]) -> HashMap<usize, usize> {
    let mut shares = HashMap::new();
    for job in jobs {
        *shares.entry(app.worker_of(job)).or_default() += 1;
    }
    shares
}
