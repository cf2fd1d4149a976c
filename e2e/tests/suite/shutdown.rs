//! SIGTERM: what is under way ends well, and nothing else is begun.

use std::time::Duration;

use e2e::{App, Gate, NewJob, Status};
use stack::{Builder, Node, Signal, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

fn with_faults(workers: usize) -> Builder {
    Stack::builder().api(1).workers(workers).env("WORKER_FAULTS", true)
}

async fn says(node: &Node, words: &str) {
    poll::until(&format!("`{words}`"), SOON, || async { node.log().contains(words) }).await.unwrap();
}

#[tokio::test]
async fn long_jobs_of_a_stopped_worker_go_on_elsewhere_at_once_and_nothing_is_charged() {
    // The lease is not what they wait for: it is longer than this test waits.
    let builder = with_faults(2).env("SHUTDOWN_GRACE_S", 1).env("LEASE_S", 600);
    let app = App::start(builder).await;
    let created = app.create_many(&NewJob::hangs_once(), 10).await;
    let running = app.all_running(&created).await;
    let stopped = app.worker_of(&running[0]);
    let theirs: Vec<_> = running.into_iter().filter(|job| app.worker_of(job) == stopped).collect();

    let status = app.stack().worker(stopped).terminate().await.unwrap();
    assert_eq!(status.code(), Some(0));

    for job in app.all_ended(&theirs).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 2), "{job:?}");
        assert_eq!(app.worker_of(&job), 1 - stopped);
        let run = app.ledger(&job).await;
        assert_eq!((run.charged, run.lost, run.outcomes()), (1, 0, vec!["released", "finished"]));
        assert!(!run.attempts[0].charged && run.attempts[1].charged);
    }
}

#[tokio::test]
async fn a_worker_told_to_stop_finishes_what_it_has_and_takes_nothing_new() {
    let app = App::start(with_faults(2).env("SHUTDOWN_GRACE_S", 600)).await;
    let gate = Gate::new();
    let long = app.running(&app.create(&gate.job()).await).await;
    let stopped = app.stack().worker(app.worker_of(&long));
    let pid = stopped.pid().unwrap();
    stopped.signal(Signal::SIGTERM);
    says(stopped, "no new jobs").await;

    let mut later = Vec::new();
    for priority in ["high", "normal", "low"] {
        later.extend(app.create_many(&NewJob::noop().priority(priority), 5).await);
    }
    for job in app.all_ended(&later).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
        assert!(!job.is_by(pid), "taken by a worker that was told to stop: {job:?}");
    }
    assert!(stopped.is_running(), "its own job is not over");
    gate.open();
    assert_eq!(stopped.wait().await.unwrap().code(), Some(0));
    let long = app.ended(&long).await;
    assert_eq!((long.status, long.attempt), (Status::Finished, 1));
}

#[tokio::test]
async fn an_api_replica_told_to_stop_answers_what_it_was_asked_and_announces_what_it_took() {
    let builder = with_faults(1).api(2).env("SHUTDOWN_GRACE_S", 600).env("LOG", "info,http=debug");
    let app = App::start(builder).await;
    let (api, leaving, other) = (app.stack().api(0), app.replica(0), app.replica(1));
    let gate = Gate::new();
    let job = app.running(&leaving.create(&gate.job()).await).await;
    let waiting = tokio::spawn({
        let (leaving, job) = (leaving.clone(), job.clone());
        async move { leaving.job_within(&job, 60).await }
    });
    says(api, "waits for the job's end").await;
    let created = leaving.create_many(&NewJob::noop(), 20).await;

    api.signal(Signal::SIGTERM);
    says(api, "no new connections").await;
    gate.open();
    assert_eq!(api.wait().await.unwrap().code(), Some(0));
    assert_eq!(waiting.await.unwrap().status, Status::Finished);
    for job in other.all_ended(&created).await {
        assert_eq!(job.status, Status::Finished);
    }
    // nginx passes it over.
    let jobs = app.create_many(&NewJob::noop(), 10).await;
    assert!(app.all_ended(&jobs).await.iter().all(|job| job.status == Status::Finished));
}

#[tokio::test]
async fn everything_stops_cleanly_while_it_is_idle_and_while_its_servers_are_gone() {
    let app = App::start(Stack::builder().api(2).workers(2).env("SHUTDOWN_GRACE_S", 2)).await;
    let stack = app.stack();
    for node in [stack.api(0), stack.worker(0)] {
        assert_eq!(node.terminate().await.unwrap().code(), Some(0), "{}", node.name());
    }
    for server in [stack.nats(), stack.api_mongo(), stack.job_mongo()] {
        server.kill().await.unwrap();
    }
    for node in [stack.api(1), stack.worker(1)] {
        assert_eq!(node.terminate().await.unwrap().code(), Some(0), "{}", node.name());
    }
}
