//! MongoDB as a replica set is only another address.

use std::time::Duration;

use e2e::{App, Gate, NewJob, Status};
use stack::{Node, Stack, poll};

/// How long a set of three may take to elect another primary on a loaded machine, and the services to find it.
const ELECTED_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test]
async fn jobs_run_on_a_replica_set_and_outlive_its_restart() {
    let app =
        App::start(Stack::builder().replica_set(true).api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let wish = NewJob::shuffle("replica").object("set-1");
    let ended = app.ended(&app.create(&wish).await).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 1));
    app.try_create(&wish).await.expect(409);

    let gate = Gate::new();
    let long = app.running(&app.create(&gate.job()).await).await;
    app.stack().api_mongo().restart().await.unwrap();
    app.stack().job_mongo().restart().await.unwrap();
    app.stack().api(0).ready().await.unwrap();
    let later = app.create(&NewJob::noop()).await;
    gate.open();
    for job in app.all_ended(&[long, later]).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    assert_eq!(app.job(&ended).await, ended);
}

#[tokio::test]
async fn jobs_go_on_on_the_two_members_that_are_left_when_primaries_die() {
    let app =
        App::start(Stack::builder().replica_sets_of(3).api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let before = app.ended(&app.create(&NewJob::noop()).await).await;
    let gate = Gate::new();
    let long = app.running(&app.create(&gate.job()).await).await;
    for members in [app.stack().api_mongo_members(), app.stack().job_mongo_members()] {
        primary(members).await.kill().await.unwrap();
    }
    // Whoever asks before there is another primary is told to come again.
    let taken = poll::until("a job to be taken", ELECTED_WITHIN, || async {
        let answer = app.try_create(&NewJob::noop()).await;
        if answer.status == 201 { Ok(answer.job()) } else { Err(answer.expect(503).body) }
    });
    let later = taken.await.unwrap();
    gate.open();
    for job in [&long, &later] {
        assert_eq!(app.ended_within(job, ELECTED_WITHIN).await.status, Status::Finished);
    }
    assert_eq!(app.job(&before).await, before);
}

async fn primary(members: &[Node]) -> &Node {
    let look = || async {
        for member in members {
            if member.is_primary().await {
                return Some(member);
            }
        }
        None
    };
    poll::until("a primary", ELECTED_WITHIN, look).await.unwrap()
}
