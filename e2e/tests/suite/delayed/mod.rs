//! Jobs whose time is to come: they are scheduled, and run when it has come.

mod changes;
mod expiry;
mod orders;

use std::time::Duration;

use bson::doc;
use e2e::{App, JobView, NewJob, Shared, Status};
use hasty::fsck;
use lab::endpoints;
use serde_json::{Value, json};
use stack::{Builder, Stack, poll};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared = Shared::new(|| Stack::builder().api(2).workers(1));

fn in_seconds(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

/// Runs tomorrow.
fn tomorrow() -> NewJob {
    NewJob::noop().with("delay_s", 86_400)
}

/// Its time comes now, whenever it was to.
async fn make_due(app: &App, job: &JobView) {
    let id = bson::Uuid::parse_str(&job.id).unwrap();
    let due = doc! { "$set": { "next_action_at": bson::DateTime::now() } };
    let scheduled = doc! { "_id": id, "next_action": "promote" };
    assert_eq!(app.jobs().await.update_one(scheduled, due).await.unwrap().matched_count, 1);
}

async fn fsck_is_clean(app: &App) {
    let report = fsck::check(&endpoints(app.stack())).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn a_job_runs_when_its_time_has_come() {
    let app = STACK.app().await;
    for field in ["delay_s", "run_at"] {
        let value: Value = if field == "delay_s" { 1.into() } else { in_seconds(1).into() };
        let created = app.create(&NewJob::noop().with(field, value)).await;
        assert_eq!((created.status, created.run, created.attempt), (Status::Scheduled, 1, 0));
        let run_at = created.run_at.expect("it says when");
        let job = app.ended(&created).await;
        assert_eq!(job.status, Status::Finished);
        let late = job.started_after(run_at);
        assert!(late.is_some_and(|late| late < Duration::from_secs(10)), "{field}: {late:?} late");
        assert_eq!(job.run_at, Some(run_at), "it is shown as it was asked for");
    }
}

#[tokio::test]
async fn a_time_that_is_over_means_at_once() {
    let app = STACK.app().await;
    for (field, value) in [("delay_s", 0.into()), ("run_at", Value::from("2001-01-01T00:00:00Z"))] {
        let created = app.create(&NewJob::noop().with(field, value)).await;
        assert_eq!(created.status, Status::Queued, "{field}");
        assert_eq!(app.ended(&created).await.status, Status::Finished);
    }
}

#[tokio::test]
async fn until_then_it_is_counted_and_listed_as_scheduled_and_nobody_else_knows_it() {
    let app = STACK.app().await;
    let job = app.create(&tomorrow().queue("later")).await;
    let queues = app.get("/v1/queues").await.expect(200).json();
    let later = queues["queues"].as_array().unwrap().iter().find(|queue| queue["queue"] == "later").unwrap();
    assert_eq!(later["scheduled"]["count"], 1, "{later}");
    assert_eq!(later["waiting"]["normal"]["count"], 0, "{later}");
    let listed = app.get("/v1/jobs?status=scheduled&queue=later").await.expect(200).json();
    assert_eq!(listed["jobs"][0]["id"], job.id.as_str(), "{listed}");
    assert_eq!(
        app.get("/v1/jobs?status=queued&queue=later").await.expect(200).json()["jobs"][0],
        Value::Null
    );
    assert_eq!(app.ledger_runs(doc! { "_id": format!("{}.1", job.id) }).await, 0);
    let announced = app.stream("JOBS").await.info_with_subjects("job:created.later.>").await.unwrap();
    let announced = futures::StreamExt::count(announced).await;
    assert_eq!(announced, 0, "it is announced when it is due");
    let deleted = app.send(app.request(reqwest::Method::DELETE, &format!("/v1/jobs/{}", job.id))).await;
    assert_eq!(deleted.expect(409).problem().code, "not_ended");
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn what_is_wrong_about_its_time_is_named() {
    let app = STACK.app().await;
    let in_two_years = in_seconds(2 * 365 * 86_400);
    for (job, fields) in [
        (NewJob::noop().with("delay_s", 1).with("run_at", in_seconds(1)), vec!["delay_s", "run_at"]),
        (NewJob::noop().with("delay_s", 31_536_001), vec!["delay_s"]),
        (NewJob::noop().with("delay_s", -1), vec!["delay_s"]),
        (NewJob::noop().with("run_at", in_two_years), vec!["run_at"]),
        (NewJob::noop().with("run_at", "tomorrow"), vec!["run_at"]),
        (NewJob::noop().with("start_within_s", 0), vec!["start_within_s"]),
        (
            NewJob::noop().with("retry", json!({ "base_s": 0, "max_s": "x", "shoe": 1 })),
            vec!["retry.base_s", "retry.max_s", "retry.shoe"],
        ),
        (NewJob::noop().with("retry", 7), vec!["retry"]),
    ] {
        let mut named = app.try_create(&job).await.expect(422).problem();
        named.errors.sort_by(|a, b| a.field.cmp(&b.field));
        assert_eq!(named.fields(), fields, "{job:?}");
    }
}

#[tokio::test]
async fn the_same_request_again_is_the_same_job_whenever_it_comes() {
    let app = STACK.app().await;
    let create = |job: NewJob| {
        let request = app.request(reqwest::Method::POST, "/v1/jobs").json(&job);
        app.send(request.header("Idempotency-Key", "delayed"))
    };
    let first = create(tomorrow()).await.expect(201).job();
    assert_eq!(create(tomorrow()).await.expect(200).job().id, first.id);
    assert_eq!(create(NewJob::noop()).await.expect(422).problem().code, "idempotency_key_reused");
}

#[tokio::test]
async fn a_batch_may_have_delayed_jobs_among_others() {
    let app = STACK.app().await;
    let jobs = json!([tomorrow(), NewJob::noop(), NewJob::noop().with("delay_s", -1)]);
    let answer = app.post("/v1/jobs/batch", &json!({ "jobs": jobs })).await.expect(200).json();
    let of = |index: usize, pointer: &str| answer["results"][index].pointer(pointer).cloned();
    assert_eq!(of(0, "/job/status"), Some("scheduled".into()));
    assert_eq!(of(1, "/job/status"), Some("queued".into()));
    assert_eq!(
        (of(2, "/status"), of(2, "/error/errors/0/field")),
        (Some(422.into()), Some("delay_s".into()))
    );
}

#[tokio::test]
async fn a_cancel_ends_it_where_it_stands_and_wakes_who_waits() {
    let app = STACK.app().await;
    let job = app.create(&tomorrow().queue("cancelled-later")).await;
    let waits = app.job_within(&job, 60);
    let cancelled = async {
        let path = format!("/v1/jobs/{}/cancel", job.id);
        app.post(&path, &json!({ "reason": "not needed" })).await.expect(200).job()
    };
    let (waited, cancelled) = tokio::join!(waits, cancelled);
    for job in [waited, cancelled] {
        assert_eq!((job.status, job.reason.as_deref()), (Status::Cancelled, Some("requested")));
        assert!(job.ended_at.is_some(), "{job:?}");
    }
    assert_eq!(
        app.ledger_runs(doc! { "_id": format!("{}.1", job.id) }).await,
        0,
        "no worker has heard of it"
    );
    let again = app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await;
    assert_eq!(again.expect(409).problem().code, "already_ended");
    fsck_is_clean(&app).await;

    // Its next run starts at once.
    let retried = app.post(&format!("/v1/jobs/{}/retry", job.id), &json!({})).await.expect(202).job();
    assert_eq!((retried.status, retried.run), (Status::Queued, 2));
    fsck_is_clean(&app).await;
}

#[tokio::test]
async fn a_bulk_cancel_ends_those_whose_time_is_to_come() {
    let app = STACK.app().await;
    let waiting = app.create(&NewJob::noop().queue("bulk-later")).await;
    for _ in 0..3 {
        app.create(&tomorrow().queue("bulk-later")).await;
    }
    let answer = app.post("/v1/jobs/cancel?queue=bulk-later", &json!({})).await.expect(200).json();
    assert_eq!(answer["cancel_requested"], 4, "{answer}");
    assert_eq!(app.stored_jobs(doc! { "queue": "bulk-later", "status": "cancelled", "epoch": 0 }).await, 3);
    assert_eq!(app.ended(&waiting).await.status, Status::Cancelled);
}

#[tokio::test]
async fn what_a_dead_replica_took_in_another_one_announces() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let job = app.replica(0).create(&NewJob::noop().with("delay_s", 2)).await;
    app.stack().api(0).kill().await.unwrap();
    let job = app.replica(1).ended(&job).await;
    assert_eq!(job.status, Status::Finished);
    assert!(job.started_after(job.run_at.unwrap()).is_some(), "{job:?}");
}

fn small_outbox() -> Builder {
    Stack::builder().api(1).workers(1).env("OUTBOX_MAX", 3).env("RELAY_AFTER_S", 0.3)
}

#[tokio::test]
async fn while_nats_is_away_they_wait_as_they_are_and_take_nobodys_place() {
    let app = App::start(small_outbox()).await;
    app.stack().nats().kill().await.unwrap();
    app.nats_is_missed().await;
    let mut jobs = Vec::new();
    for _ in 0..10 {
        jobs.push(app.create(&NewJob::noop().with("delay_s", 1)).await);
    }
    let due = || async {
        let due = doc! { "next_action": "promote", "next_action_at": { "$lt": bson::DateTime::now() } };
        app.stored_jobs(due).await == 10
    };
    poll::until("their time to come", SOON, due).await.unwrap();
    // Ordinary jobs still have all the places.
    for _ in 0..3 {
        jobs.push(app.create(&NewJob::noop()).await);
    }
    let full = || async { app.try_create(&NewJob::noop()).await.status == 503 };
    poll::until("the outbox to be full", SOON, full).await.unwrap();
    jobs.push(app.create(&tomorrow()).await);
    assert_eq!(app.stored_jobs(doc! { "status": "scheduled" }).await, 11);
    let tomorrow = jobs.pop().unwrap();
    app.stack().nats().start().await.unwrap();
    for job in app.all_ended(&jobs).await {
        assert_eq!(job.status, Status::Finished);
    }
    assert_eq!(app.job(&tomorrow).await.status, Status::Scheduled);
}
