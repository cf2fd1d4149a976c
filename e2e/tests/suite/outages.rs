//! Servers that are gone for a while. Jobs wait for them, and nobody pays for it.

use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, JobView, NewJob, Status};
use futures::future::join_all;
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(90);

#[tokio::test]
async fn jobs_created_without_nats_run_when_it_is_back() {
    let builder = Stack::builder().api(2).workers(2).env("WORKER_FAULTS", true);
    let app = App::start(builder.env("RELAY_AFTER_S", 1)).await;
    let pids: Vec<_> = app.stack().nodes().map(|node| node.pid()).collect();
    let gate = Gate::new();
    let before = app.create_many(&gate.job(), 10).await;
    app.all_running(&before).await;

    app.stack().nats().kill().await.unwrap();
    let without = app.create_many(&NewJob::noop(), 50).await;
    let ready = poll::until("NATS to be missed", SOON, || async {
        let answer = app.ready().await.expect(200).json();
        if answer["nats"] == "away" { Ok(answer) } else { Err(answer) }
    });
    assert_eq!(ready.await.unwrap()["mongodb"], "ok");
    // What was running ends without it, too.
    gate.open();
    poll::until("the running to end", SOON, || async {
        let ended = app.ledger_runs(doc! { "status": "finished" }).await;
        if ended == 10 { Ok(()) } else { Err(format!("{ended} of 10")) }
    })
    .await
    .unwrap();
    assert!(without_end(&app, &without).await);

    app.stack().nats().start().await.unwrap();
    let after = app.create_many(&NewJob::noop(), 10).await;
    all_finish_at_once(&app, [before, without, after].concat()).await;
    let now: Vec<_> = app.stack().nodes().map(|node| node.pid()).collect();
    let changed = pids.iter().zip(&now).filter(|(before, now)| before != now).count();
    assert_eq!(changed, 1, "only NATS is another process now");
}

#[tokio::test]
async fn services_that_start_before_their_servers_wait_for_them() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let stack = app.stack();
    let servers = [stack.nats(), stack.api_mongo(), stack.job_mongo()];
    for node in [stack.api(0), stack.worker(0)].into_iter().chain(servers) {
        node.terminate().await.unwrap();
    }
    for service in [stack.api(0), stack.worker(0)] {
        service.launch().unwrap();
    }
    for service in [stack.api(0), stack.worker(0)] {
        let waits = || async { service.log().contains("waiting for MongoDB") };
        poll::until("the service to wait", SOON, waits).await.unwrap();
    }
    for server in servers {
        server.start().await.unwrap();
    }
    for service in [stack.api(0), stack.worker(0)] {
        service.ready().await.unwrap();
    }
    let jobs = app.create_many(&NewJob::noop(), 10).await;
    all_finish_at_once(&app, jobs).await;
}

#[tokio::test]
async fn without_its_database_the_api_says_so_and_takes_nothing() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let before = app.create(&NewJob::noop()).await;
    app.ended(&before).await;

    app.stack().api_mongo().terminate().await.unwrap();
    let wish = NewJob::noop().object("unlucky");
    let path = format!("/v1/jobs/{}", before.id);
    let (create, read, old, ready) =
        tokio::join!(app.try_create(&wish), app.get(&path), app.old_create("unlucky too"), app.ready(),);
    for answer in [create, read, old] {
        let answer = answer.expect(503);
        assert_eq!(answer.problem().code, "unavailable");
        assert!((1..=60).contains(&answer.retry_after_s()));
    }
    let ready = ready.expect(503).json();
    assert_eq!((ready["status"].as_str(), ready["nats"].as_str()), (Some("failing"), Some("ok")), "{ready}");
    assert_ne!(ready["mongodb"], "ok");
    app.get("/health/live").await.expect(200);

    app.stack().api_mongo().start().await.unwrap();
    app.stack().api(0).ready().await.unwrap();
    assert_eq!(app.stored_jobs(doc! {}).await, 1, "something was stored after all");
    let after = app.create(&wish).await;
    all_finish_at_once(&app, vec![before, after]).await;
}

#[tokio::test]
async fn requests_that_a_dying_database_cuts_off_leave_whole_jobs_or_none() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    // Eight clients create one job after the other, until one of theirs is refused.
    let clients = (0..8).map(|_| async {
        let mut accepted = Vec::new();
        loop {
            let answer = app.try_create(&NewJob::noop()).await;
            if answer.status != 201 {
                return (accepted, answer.expect(503).retry_after_s());
            }
            accepted.push(answer.job());
        }
    });
    let kill = async {
        let stored = || async { app.stored_jobs(doc! {}).await >= 100 };
        poll::until("a hundred jobs", SOON, stored).await.unwrap();
        app.stack().api_mongo().kill().await.unwrap();
    };
    let (clients, ()) = tokio::join!(join_all(clients), kill);
    app.stack().api_mongo().start().await.unwrap();
    for api in app.stack().apis() {
        api.ready().await.unwrap();
    }

    let accepted = clients.into_iter().flat_map(|(accepted, _)| accepted).collect();
    all_finish_at_once(&app, accepted).await;
    // Also those whose 201 was lost on the way.
    poll::until("all that is stored to finish", SOON, || async {
        let left = app.stored_jobs(doc! { "status": { "$ne": "finished" } }).await;
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_outage_of_the_ledger_charges_nobody() {
    // All are longer than a lease; the first ends before the driver gives up, the second after.
    join_all([6, 12].map(|seconds| outage_of_the_ledger(Duration::from_secs(seconds)))).await;
}

async fn outage_of_the_ledger(length: Duration) {
    let app =
        App::start(Stack::builder().api(1).workers(2).env("LEASE_S", 5).env("WORKER_FAULTS", true)).await;
    let (short_gate, long_gate) = (Gate::new(), Gate::new());
    let long = app.create_many(&long_gate.job(), 10).await;
    let short = app.create_many(&short_gate.job(), 10).await;
    app.all_running(&[long.clone(), short.clone()].concat()).await;

    app.stack().job_mongo().kill().await.unwrap();
    let meanwhile = app.create_many(&NewJob::noop(), 10).await;
    short_gate.open();
    // The outage itself, not a wait for anything.
    tokio::time::sleep(length).await;
    app.stack().job_mongo().start().await.unwrap();
    long_gate.open();

    let all = [long, short, meanwhile].concat();
    for job in &all {
        let ended = app.ended(job).await;
        assert_eq!((ended.status, ended.attempt), (Status::Finished, 1), "after {length:?}: {ended:?}");
        let run = app.ledger(job).await;
        assert_eq!((run.charged, run.lost), (1, 0), "{run:?}");
    }
}

#[tokio::test]
async fn a_full_outbox_takes_no_more_until_nats_is_back() {
    let app =
        App::start(Stack::builder().api(2).workers(1).env("OUTBOX_MAX", 10).env("RELAY_AFTER_S", 1)).await;
    app.stack().nats().kill().await.unwrap();
    app.nats_is_missed().await;

    let mut waiting = Vec::new();
    let refused = loop {
        let answer = app.try_create(&NewJob::noop()).await;
        if answer.status == 503 {
            break answer;
        }
        waiting.push(answer.expect(201).job());
        assert!(waiting.len() < 100, "the outbox has no limit");
    };
    assert_eq!(refused.problem().code, "outbox_full");
    assert!((1..=60).contains(&refused.retry_after_s()));
    // Each of the two replicas may have taken ten before it counted the other's.
    assert!((10..=20).contains(&waiting.len()), "{}", waiting.len());
    assert_eq!(app.stored_jobs(doc! {}).await, waiting.len() as u64);

    app.stack().nats().start().await.unwrap();
    let again = poll::until("jobs to be taken again", SOON, || async {
        let answer = app.try_create(&NewJob::noop()).await;
        if answer.status == 201 { Ok(answer.job()) } else { Err(answer.body) }
    });
    waiting.push(again.await.unwrap());
    all_finish_at_once(&app, waiting).await;
}

/// All of them finish, by their first attempt.
async fn all_finish_at_once(app: &App, jobs: Vec<JobView>) {
    for job in app.all_ended(&jobs).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
}

/// Whether none of them has ended.
async fn without_end(app: &App, jobs: &[JobView]) -> bool {
    join_all(jobs.iter().map(|job| app.job(job))).await.iter().all(|job| job.status == Status::Queued)
}
