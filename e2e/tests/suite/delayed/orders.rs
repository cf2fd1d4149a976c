//! A job's time comes while a client changes it: whoever is first has it, and the other one loses cleanly.

use e2e::{App, NewJob, Status};
use reqwest::Method;
use serde_json::json;
use stack::{Node, Stack, poll};

use super::{SOON, changes::change, fsck_is_clean, make_due, tomorrow};

/// Two replicas, the first of which stands still where it comes to this place first.
async fn held_at(gap: &str) -> App {
    let held = format!("{gap}=1*return(stop)");
    App::start(Stack::builder().api(2).workers(1).api_env(0, "FAILPOINTS", held)).await
}

async fn stands_still(node: &Node) {
    poll::until("the replica to stand still", SOON, || async { node.is_paused() }).await.unwrap();
}

#[tokio::test]
async fn a_cancel_that_comes_after_the_promotion_is_the_ledgers() {
    let app = held_at("api.cancel.read").await;
    let (first, second) = (app.replica(0), app.replica(1));
    // Nobody serves its queue.
    let job = second.create(&tomorrow().queue("nobody")).await;
    let path = format!("/v1/jobs/{}/cancel", job.id);
    let cancel = tokio::spawn(async move { first.send(first.request(Method::POST, &path)).await });
    stands_still(app.stack().api(0)).await;
    make_due(&app, &job).await;
    let queued = || async { second.job(&job).await.status == Status::Queued };
    poll::until("the other replica to promote it", SOON, queued).await.unwrap();

    assert!(app.stack().api(0).resume());
    let answer = cancel.await.unwrap();
    assert!([200, 202].contains(&answer.status), "{answer:?}");
    let ended = app.ended(&job).await;
    assert_eq!((ended.status, ended.reason.as_deref()), (Status::Cancelled, Some("requested")));
    assert_eq!(app.ledger(&job).await.status, Status::Cancelled);
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn a_promotion_that_comes_after_the_cancel_changes_nothing() {
    let app = held_at("api.due.found").await;
    let second = app.replica(1);
    // Both replicas would find it; the other one is asked only when the first has.
    assert!(app.stack().api(1).pause());
    let job = app.replica(0).create(&NewJob::noop().with("delay_s", 1).queue("nobody")).await;
    stands_still(app.stack().api(0)).await;
    let later = bson::doc! { "$set": { "next_action_at": bson::DateTime::from_millis(i64::MAX / 2) } };
    let id = bson::Uuid::parse_str(&job.id).unwrap();
    app.jobs().await.update_one(bson::doc! { "_id": id }, later).await.unwrap();
    assert!(app.stack().api(1).resume());
    let cancelled = second.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await;
    assert_eq!(cancelled.expect(200).job().status, Status::Cancelled);

    assert!(app.stack().api(0).resume());
    let other = app.replica(0).create(&NewJob::noop().with("delay_s", 1)).await;
    assert_eq!(app.ended(&other).await.status, Status::Finished, "the first replica has gone on");
    assert_eq!(app.job(&job).await.status, Status::Cancelled);
    assert_eq!(app.ledger_runs(bson::doc! { "_id": format!("{}.1", job.id) }).await, 0);
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn a_change_that_comes_after_the_promotion_is_refused_and_changes_nothing() {
    let app = held_at("api.change.read").await;
    let (first, second) = (app.replica(0), app.replica(1));
    let job = second.create(&tomorrow().queue("nobody")).await;
    let asked = job.clone();
    let changing = tokio::spawn(async move { change(&first, &asked, &json!({ "priority": "high" })).await });
    stands_still(app.stack().api(0)).await;
    make_due(&app, &job).await;
    let queued = || async { second.job(&job).await.status == Status::Queued };
    poll::until("the other replica to promote it", SOON, queued).await.unwrap();

    assert!(app.stack().api(0).resume());
    let refused = changing.await.unwrap().expect(409);
    assert_eq!(
        (refused.problem().code.as_str(), refused.json()["job_status"].as_str()),
        ("not_scheduled", Some("queued"))
    );
    assert_eq!(app.job(&job).await.priority, "normal");
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn a_promotion_that_comes_after_a_change_announces_what_was_changed_at_its_new_time() {
    let app = held_at("api.due.found").await;
    let job = app.replica(0).create(&NewJob::noop().with("delay_s", 2).queue("nobody")).await;
    assert!(app.stack().api(1).pause());
    stands_still(app.stack().api(0)).await;
    let put_off = bson::doc! { "$set": { "next_action_at": bson::DateTime::from_millis(i64::MAX / 2) } };
    let id = bson::Uuid::parse_str(&job.id).unwrap();
    app.jobs().await.update_one(bson::doc! { "_id": id }, put_off).await.unwrap();
    assert!(app.stack().api(1).resume());
    let changed = change(&app.replica(1), &job, &json!({ "delay_s": 3600, "priority": "low" })).await;
    assert_eq!(changed.expect(200).job().priority, "low");

    assert!(app.stack().api(0).resume());
    let other = app.replica(0).create(&NewJob::noop().with("delay_s", 1)).await;
    assert_eq!(app.ended(&other).await.status, Status::Finished, "the first replica has gone on");
    let job = app.job(&job).await;
    assert_eq!((job.status, job.priority.as_str()), (Status::Scheduled, "low"));
    fsck_is_clean(&app).await;
}
