//! What was promised about a job outlives its deletion, and nobody takes what is left of it for a job.

use std::time::Duration;

use bson::{DateTime, doc};
use e2e::{Answer, App, JobView, NewJob, Shared, Status};
use hasty::fsck;
use lab::endpoints;
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Stack, poll};

/// Nothing goes here but what is deleted.
static LASTING: Shared = Shared::new(|| Stack::builder().api(2).workers(1));

const SOON: Duration = Duration::from_secs(120);

pub(super) async fn create_with_key(app: &App, key: &str, body: &Value) -> Answer {
    app.send(app.request(Method::POST, "/v1/jobs").header("Idempotency-Key", key).json(body)).await
}

pub(super) async fn delete(app: &App, job: &JobView) -> Answer {
    app.send(app.request(Method::DELETE, &format!("/v1/jobs/{}", job.id))).await
}

/// A job of this body that has ended and was deleted.
async fn deleted(app: &App, key: &str, body: &Value) -> JobView {
    let job = create_with_key(app, key, body).await.expect(201).job();
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    delete(app, &job).await.expect(204);
    job
}

/// Has whatever is stored under the job's id look as if the job had been created so long ago.
async fn created_before(app: &App, job: &JobView, hours: i64) {
    let at = DateTime::from_millis(DateTime::now().timestamp_millis() - hours * 3_600_000);
    let (stored, older) = (doc! { "_id": stored_id(job) }, doc! { "$set": { "created_at": at } });
    assert_eq!(app.jobs().await.update_one(stored, older).await.unwrap().modified_count, 1);
}

pub(super) fn stored_id(job: &JobView) -> bson::Uuid {
    bson::Uuid::parse_str(&job.id).unwrap()
}

#[tokio::test]
async fn a_key_outlives_its_deleted_job() {
    let app = LASTING.app().await;
    let body = json!({ "kind": "noop" });
    let job = deleted(&app, "gone-1", &body).await;
    for _ in 0..2 {
        let problem = create_with_key(&app, "gone-1", &body).await.expect(410).problem();
        assert_eq!((problem.code.as_str(), problem.job_id.as_ref()), ("job_gone", Some(&job.id)));
    }
    let other = create_with_key(&app, "gone-1", &json!({ "kind": "sleep" })).await.expect(422).problem();
    assert_eq!((other.code.as_str(), other.job_id.as_ref()), ("idempotency_key_reused", Some(&job.id)));

    created_before(&app, &job, 25).await;
    let second = create_with_key(&app, "gone-1", &body).await.expect(201).job();
    assert_ne!(second.id, job.id);
    assert_eq!(create_with_key(&app, "gone-1", &body).await.expect(200).job().id, second.id);
}

#[tokio::test]
async fn an_objects_window_outlives_its_deleted_job() {
    let app = LASTING.app().await;
    let body = json!({ "kind": "noop", "object_id": "gone-2" });
    let job = deleted(&app, "gone-2", &body).await;
    let problem = app.try_create(&NewJob::noop().object("gone-2")).await.expect(409).problem();
    assert_eq!((problem.code.as_str(), problem.job_id.as_ref()), ("duplicate_object", Some(&job.id)));
    assert_eq!(app.old_create("gone-2").await.status, 400);
    // The key comes first, also where both are held.
    assert_eq!(create_with_key(&app, "gone-2", &body).await.status, 410);

    created_before(&app, &job, 1).await;
    assert_ne!(app.create(&NewJob::noop().object("gone-2")).await.id, job.id);
    assert_eq!(create_with_key(&app, "gone-2", &body).await.status, 410);
}

#[tokio::test]
async fn a_stub_is_no_job_for_anybody() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let path = |job: &JobView, action: &str| format!("/v1/jobs/{}{action}", job.id);
    let jobs = app.create_many(&NewJob::noop().queue("default"), 3).await;
    app.all_ended(&jobs).await;
    let gone = &jobs[1];
    delete(&app, gone).await.expect(204);

    for (method, action) in [
        (Method::GET, ""),
        (Method::GET, "?wait_s=1"),
        (Method::GET, "/attempts"),
        (Method::POST, "/cancel"),
        (Method::POST, "/retry"),
        (Method::DELETE, ""),
    ] {
        let answer = app.send(app.request(method.clone(), &path(gone, action))).await;
        assert_eq!(answer.expect(404).problem().code, "job_not_found", "{method} {action}");
    }
    assert_eq!(app.old_job(&gone.id).await.status, 404);
    for query in ["", "?status=finished", "?created_after=2020-01-01T00:00:00Z", "?object_id=x"] {
        let listed = app.get(&format!("/v1/jobs{query}")).await.expect(200).body;
        assert!(!listed.contains(&gone.id), "{query}: {listed}");
        assert_eq!(listed.contains(&jobs[0].id), query != "?object_id=x", "{query}: {listed}");
    }
    let retried = app.post("/v1/jobs/retry?status=finished,failed,cancelled", &json!({})).await;
    assert_eq!(retried.expect(200).json()["retried"], 2);
    let cancelled = app.post("/v1/jobs/cancel", &json!({})).await.expect(200).json();
    assert!(cancelled["cancel_requested"].as_u64().unwrap() <= 2, "{cancelled}");
    app.all_ended(&[jobs[0].clone(), jobs[2].clone()]).await;
    let report = || async {
        let report = fsck::check(&endpoints(app.stack())).await.map_err(|error| format!("{error:#}"))?;
        if report.is_clean() && report.ended == 3 { Ok(()) } else { Err(report.to_string()) }
    };
    poll::until("all to be over for fsck", SOON, report).await.unwrap();
}

#[tokio::test]
async fn of_a_retry_and_a_removal_at_the_same_instant_one_loses() {
    let app = LASTING.app().await;
    let jobs = app.create_many(&NewJob::sleep(600.0).queue("nobody"), 20).await;
    app.send(app.request(Method::POST, "/v1/jobs/cancel?queue=nobody")).await.expect(200);
    app.all_ended(&jobs).await;
    let both = jobs.iter().map(|job| async {
        let path = format!("/v1/jobs/{}/retry", job.id);
        futures::join!(app.send(app.request(Method::POST, &path)), delete(&app, job))
    });
    for (job, (retried, deleted)) in jobs.iter().zip(futures::future::join_all(both).await) {
        let now = app.get(&format!("/v1/jobs/{}", job.id)).await;
        match (retried.status, deleted.status) {
            (202, 409) => assert_eq!(now.expect(200).job().run, 2),
            (404, 204) => assert_eq!(now.status, 404),
            _ => panic!("{retried:?}, {deleted:?}"),
        }
    }
}
