//! `job-service once`, and workers that rest between the ticks of `WORKER_CRON`.

use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Status};
use stack::{Builder, Node, Stack, poll};

use crate::who_works::shows_worker;

const SOON: Duration = Duration::from_secs(60);

/// Once a year.
const FAR: &str = "0 0 0 1 1 *";

const EVERY_SECOND: &str = "* * * * * *";

fn with_faults() -> Builder {
    Stack::builder().api(1).workers(0).env("WORKER_FAULTS", true)
}

/// Waits until as many announcements as that are, or were, in the stream.
async fn announced(app: &App, count: u64) {
    let look = || async {
        let last = app.stream("JOBS").await.cached_info().state.last_sequence;
        if last == count { Ok(()) } else { Err(format!("{last}")) }
    };
    poll::until(&format!("{count} announcements"), SOON, look).await.unwrap();
}

/// Runs `job-service once` to its end.
async fn once(app: &App) -> Node {
    let worker = app.stack().run_worker_once(0).await.unwrap();
    let status = tokio::time::timeout(SOON, worker.wait()).await.expect("an end").unwrap();
    assert_eq!(status.code(), Some(0), "{}", worker.log().tail(30));
    worker
}

async fn jobs(app: &App, jobs: &[JobView]) -> Vec<JobView> {
    futures::future::join_all(jobs.iter().map(|job| app.job(job))).await
}

#[tokio::test]
async fn once_takes_what_waits_in_all_queues_and_priorities_and_ends() {
    let builder = with_faults().env("WORKER_QUEUES", "default,mail").env("WORKER_CONCURRENCY", 3);
    let app = App::start(builder).await;
    let mut waiting = Vec::new();
    for queue in ["default", "mail"] {
        for priority in ["low", "normal", "high"] {
            waiting.extend(app.create_many(&NewJob::noop().queue(queue).priority(priority), 5).await);
        }
    }
    let others = app.create(&NewJob::noop().queue("others")).await;
    announced(&app, 31).await;

    let worker = once(&app).await;
    // Its ends are announced, and applied soon.
    for job in app.all_ended(&waiting).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    assert_eq!(app.job(&others).await.status, Status::Queued, "nobody serves its queue");
    let said = worker.log().lines().into_iter().find(|line| line.contains("took what waited")).unwrap();
    assert!(said.contains(r#""announcements":30"#) && said.contains(r#""attempts":30"#), "{said}");

    // Nothing waits.
    let said = once(&app).await.log().tail(20);
    assert!(said.contains(r#""attempts":0"#), "{said}");
}

#[tokio::test]
async fn once_takes_retries_that_are_due_and_leaves_those_to_come() {
    let app = App::start(with_faults().env("RETRY_BASE_S", 0.01)).await;
    let retried = app.create(&NewJob::fault(&["retry", "done"])).await;
    announced(&app, 1).await;
    once(&app).await;
    let due = || async {
        let due = doc! { "status": "queued", "attempt": 1, "next_at": { "$lte": bson::DateTime::now() } };
        app.ledger_runs(due).await == 1
    };
    poll::until("the retry to be due", SOON, due).await.unwrap();

    let said = once(&app).await.log().tail(20);
    let ended = app.ended(&retried).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2));
    assert!(said.contains(r#""due":1"#), "{said}");
}

#[tokio::test]
async fn once_leaves_what_comes_while_it_runs() {
    let app = App::start(with_faults().env("WORKER_CONCURRENCY", 2)).await;
    let gate = Gate::new();
    let first = app.create_many(&gate.job(), 5).await;
    announced(&app, 5).await;
    let worker = app.stack().run_worker_once(0).await.unwrap();
    let running = || async { app.ledger_runs(doc! { "status": "running" }).await == 2 };
    poll::until("all slots to be taken", SOON, running).await.unwrap();
    let later = app.create_many(&NewJob::noop(), 5).await;
    announced(&app, 10).await;
    gate.open();

    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    let ended = app.all_ended(&first).await;
    assert!(ended.iter().all(|job| job.status == Status::Finished), "{ended:?}");
    for job in jobs(&app, &later).await {
        assert_eq!(job.status, Status::Queued, "{job:?}");
    }
    once(&app).await;
    app.all_ended(&later).await;
}

#[tokio::test]
async fn once_fails_where_a_server_is_away_and_leaves_nothing_behind_when_it_is_stopped() {
    let app = App::start(with_faults()).await;
    let gate = Gate::new();
    let held = app.create(&gate.job()).await;
    announced(&app, 1).await;
    let worker = app.stack().run_worker_once(0).await.unwrap();
    app.running(&held).await;
    shows_worker(&app, &worker, "shown", |worker| worker.slots_used == 1).await;
    worker.signal(stack::Signal::SIGTERM);
    gate.open();
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    assert_eq!(app.ended(&held).await.attempt, 1);

    app.stack().nats().kill().await.unwrap();
    let worker = app.stack().run_worker_once(0).await.unwrap();
    let status = tokio::time::timeout(SOON, worker.wait()).await.expect("an end").unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(worker.log().contains("NATS has not answered"), "{}", worker.log().tail(5));
}

/// What could not be claimed was given back, and comes again a little later: that is waited for.
#[tokio::test]
async fn once_makes_up_for_what_could_not_be_claimed() {
    let app = App::start(with_faults().env("FAILPOINTS", "job.fetch.fetched=1*return(stop)")).await;
    let waiting = app.create_many(&NewJob::noop(), 5).await;
    announced(&app, 5).await;
    let worker = app.stack().run_worker_once(0).await.unwrap();
    worker.paused().await.unwrap();
    app.stack().job_mongo().kill().await.unwrap();
    worker.resume();
    poll::until("a claim in vain", SOON, || async { worker.log().contains("not claimed") }).await.unwrap();
    app.stack().job_mongo().start().await.unwrap();
    let status = tokio::time::timeout(SOON, worker.wait()).await.expect("an end").unwrap();
    assert_eq!(status.code(), Some(0), "{}", worker.log().tail(30));
    for job in jobs(&app, &waiting).await {
        let job = app.ended(&job).await;
        assert_eq!(job.status, Status::Finished, "{job:?}");
    }
}

#[tokio::test]
async fn what_comes_between_ticks_waits_for_the_next() {
    let builder = with_faults().workers(1).env("WORKER_CRON", EVERY_SECOND);
    let mut app = App::start(builder.worker_env(0, "WORKER_CRON", FAR)).await;
    let resting = app.stack().worker(0).clone();
    let waiting = app.create_many(&NewJob::noop(), 10).await;
    announced(&app, 10).await;
    // It is ready, and says that it is there.
    e2e::Client::new(resting.url()).ready().await.expect(200);
    shows_worker(&app, &resting, "running", |worker| worker.state == "running").await;

    let ticking = app.add_worker().await;
    for job in app.all_ended(&waiting).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
        assert!(job.is_by(ticking.pid().unwrap()), "{job:?}");
    }
    // So it goes at every tick, with retries too.
    let retried = app.create(&NewJob::fault(&["retry", "done"])).await;
    let ended = app.ended(&retried).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2));
    assert!(ended.is_by(ticking.pid().unwrap()));
}

#[tokio::test]
async fn a_drained_worker_passes_its_ticks_over_and_one_that_can_not_be_kept_is_made_up_for() {
    let app = App::start(with_faults().workers(1).env("WORKER_CRON", EVERY_SECOND)).await;
    let worker = app.stack().worker(0);
    let id = shows_worker(&app, worker, "there", |_| true).await.id;
    app.post(&format!("/v1/workers/{id}/drain"), &serde_json::json!({})).await;
    shows_worker(&app, worker, "drained", |worker| worker.state == "drained").await;
    let waiting = app.create(&NewJob::noop()).await;
    announced(&app, 1).await;
    let ticks = || worker.log().lines().iter().filter(|line| line.contains("tick passed over")).count();
    let seen = ticks();
    poll::until("two more ticks", SOON, || async { ticks() > seen + 1 }).await.unwrap();
    assert_eq!(app.job(&waiting).await.status, Status::Queued);
    app.post(&format!("/v1/workers/{id}/resume"), &serde_json::json!({})).await.expect(200);
    assert_eq!(app.ended(&waiting).await.status, Status::Finished);

    app.stack().nats().kill().await.unwrap();
    app.nats_is_missed().await;
    let waiting = app.create(&NewJob::noop()).await;
    poll::until("a tick in vain", SOON, || async { worker.log().contains("not all that waits is taken") })
        .await
        .unwrap();
    app.stack().nats().start().await.unwrap();
    assert_eq!(app.ended(&waiting).await.status, Status::Finished);
}

#[tokio::test]
async fn an_expression_that_is_none_is_named_at_the_start() {
    let app = App::start(with_faults()).await;
    for wrong in ["every ten seconds", "0 0 0 30 2 *"] {
        let worker = app.stack().run_worker_once(0).await.unwrap();
        worker.kill().await.unwrap();
        worker.set_env("WORKER_CRON", wrong);
        worker.launch().unwrap();
        assert_eq!(worker.wait().await.unwrap().code(), Some(78));
        assert!(worker.log().contains("WORKER_CRON: must be a cron expression"), "{}", worker.log().tail(5));
    }
}
