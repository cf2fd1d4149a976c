//! One object, one job within its window.

use std::time::{Duration, Instant};

use bson::{DateTime, doc};
use e2e::{App, NewJob, Shared, Status};
use futures::future::join_all;
use reqwest::Method;
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared = Shared::new(|| Stack::builder().api(2).workers(1));

#[tokio::test]
async fn the_same_object_again_is_refused_and_told_why() {
    let app = STACK.app().await;
    let asked = Instant::now();
    let first = app.create(&NewJob::noop().object("invoice-1")).await;
    // Also after the first has ended: the window counts from its creation.
    app.ended(&first).await;

    let refused = app.try_create(&NewJob::shuffle("abc").object("invoice-1")).await.expect(409);
    let problem = refused.problem();
    assert_eq!((problem.code.as_str(), problem.job_id), ("duplicate_object", Some(first.id)));
    let left_s = 299_u64.saturating_sub(asked.elapsed().as_secs())..=300;
    assert!(left_s.contains(&refused.retry_after_s()), "{} is not in {left_s:?}", refused.retry_after_s());

    app.create(&NewJob::noop().object("invoice-2")).await;
    app.create(&NewJob::noop()).await;
    app.create(&NewJob::noop()).await;
}

#[tokio::test]
async fn fifty_at_once_on_two_replicas_make_one_job() {
    let app = STACK.app().await;
    let replicas = [app.replica(0), app.replica(1)];
    let wish = NewJob::noop().object("contested");
    let answers = join_all((0..50).map(|i| replicas[i % 2].try_create(&wish))).await;

    let (created, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(created.len(), 1, "{created:?}");
    let job = created[0].job();
    for answer in refused {
        assert_eq!(answer.expect(409).problem().job_id.as_ref(), Some(&job.id));
    }
    assert_eq!(app.stored_jobs(doc! { "object_id": "contested" }).await, 1);
    assert_eq!(app.ended(&job).await.status, Status::Finished);
}

#[tokio::test]
async fn fifty_at_once_make_one_job_also_before_the_database_was_ever_used() {
    let app = App::start(Stack::builder().api(2).workers(0)).await;
    for replica in app.stack().apis() {
        replica.terminate().await.unwrap();
    }
    app.drop_jobs().await;
    for replica in app.stack().apis() {
        replica.launch().unwrap();
    }

    // They are asked from the first moment that they listen.
    let replicas = [app.replica(0), app.replica(1)];
    let wish = NewJob::noop().object("first of all");
    let answers = join_all((0..50).map(|i| {
        let replica = &replicas[i % 2];
        let create = || replica.try_send(replica.request(Method::POST, "/v1/jobs").json(&wish));
        poll::until("the replica to listen", SOON, create)
    }));
    let statuses: Vec<u16> = answers.await.into_iter().map(|answer| answer.unwrap().status).collect();
    assert_eq!(app.stored_jobs(doc! {}).await, 1, "{statuses:?}");
}

#[tokio::test]
async fn after_the_window_it_is_a_new_job() {
    let app = App::start(Stack::builder().api(2).workers(1).env("RERUN_WINDOW_S", 1)).await;
    let wish = NewJob::noop().object("again");
    let asked = Instant::now();
    let first = app.create(&wish).await;

    let second = poll::until("the window to be over", SOON, || async {
        let answer = app.try_create(&wish).await;
        if answer.status == 201 {
            return Ok(answer.job());
        }
        assert_eq!(answer.retry_after_s(), 1);
        Err(answer.expect(409).body)
    });
    let second = second.await.unwrap();
    assert_ne!(second.id, first.id);
    // The replicas' clocks need not agree to the last millisecond.
    assert!(asked.elapsed() > Duration::from_millis(900), "after {:?}", asked.elapsed());
    for job in app.all_ended(&[first, second]).await {
        assert_eq!(job.status, Status::Finished);
    }
}

#[tokio::test]
async fn fifty_at_once_after_the_window_make_one_job() {
    let app = STACK.app().await;
    let wish = NewJob::noop().object("over and again");
    app.create(&wish).await;
    // As if it were longer ago.
    let before = DateTime::from_millis(DateTime::now().timestamp_millis() - 301_000);
    let (first, older) = (doc! { "object_id": "over and again" }, doc! { "$set": { "created_at": before } });
    let done = app.jobs().await.update_one(first, older).await;
    assert_eq!(done.expect("the job can be changed").modified_count, 1);
    let answers = join_all((0..50).map(|_| app.try_create(&wish))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 49, "{statuses:?}");
}
