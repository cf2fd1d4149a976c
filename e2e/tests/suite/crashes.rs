//! Processes that die without a word. What was promised is kept.

use std::time::Duration;

use e2e::{App, NewJob, Status};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::Method;
use stack::{Builder, Stack};
use time::OffsetDateTime;

const LEASE_S: u64 = 4;

/// Much longer than a lease, much shorter than the jobs' timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_jobs_of_a_killed_worker_are_finished_by_others() {
    let app = App::start(workers_with_faults()).await;
    let created = app.create_many(&NewJob::hangs_once(), 12).await;
    let running = app.all_running(&created).await;
    let victim = app.worker_of(&running[0]);
    let (orphans, others): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|job| app.worker_of(job) == victim);

    let killed_at = OffsetDateTime::now_utc();
    app.stack().worker(victim).kill().await.unwrap();

    for job in app.all_ended(&orphans).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 2), "{job:?}");
        assert_eq!(app.worker_of(&job), 1 - victim);
        let waited = job.started_after(killed_at).expect("the second attempt started after the kill");
        assert!(waited <= LONGEST_WAIT, "waited {waited:?} for a dead worker: {job:?}");
        let run = app.ledger(&job).await;
        assert_eq!((run.outcomes(), run.charged, run.lost), (vec!["lost", "finished"], 2, 1));
    }
    for job in app.all_running(&others).await {
        assert_eq!((job.attempt, app.worker_of(&job)), (1, 1 - victim), "{job:?}");
    }
}

#[tokio::test]
async fn all_workers_killed_and_started_again_finish_what_they_had() {
    let app = App::start(workers_with_faults()).await;
    let created = app.create_many(&NewJob::hangs_once(), 10).await;
    app.all_running(&created).await;
    for worker in app.stack().workers() {
        worker.kill().await.unwrap();
    }
    let waiting = app.create_many(&NewJob::noop(), 10).await;
    for worker in app.stack().workers() {
        worker.start().await.unwrap();
    }
    for job in app.all_ended(&created).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 2), "{job:?}");
    }
    for job in app.all_ended(&waiting).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
}

fn workers_with_faults() -> Builder {
    Stack::builder().api(1).workers(2).env("LEASE_S", LEASE_S).env("WORKER_FAULTS", true)
}

#[tokio::test]
async fn a_job_that_was_accepted_finishes_though_its_replica_is_killed() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let doomed = app.replica(0);
    let mut answers: FuturesUnordered<_> = (0..40)
        .map(|_| doomed.try_send(doomed.request(Method::POST, "/v1/jobs").json(&NewJob::noop())))
        .collect();

    let mut accepted = vec![answers.next().await.unwrap().unwrap().expect(201).job()];
    app.stack().api(0).kill().await.unwrap();
    while let Some(answer) = answers.next().await {
        // Those that got no answer were promised nothing.
        accepted.extend(answer.map(|answer| answer.expect(201).job()));
    }

    // Through nginx, which passes the dead replica over.
    for job in
        futures::future::join_all(accepted.iter().map(|job| app.ended_within(job, Duration::from_secs(60))))
            .await
    {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
}
