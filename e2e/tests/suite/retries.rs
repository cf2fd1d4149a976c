//! What a retry writes, and what it leaves as it is.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use e2e::{App, JobView, NewJob, Shared, Status};
use mongodb::Collection;
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(120);

// A replica set, since one of the tests has an open transaction.
static STACK: Shared = Shared::new(|| {
    Stack::builder().replica_set(true).api(1).workers(1).env("WORKER_QUEUES", "default,window,refused,newer")
});

async fn retry_all(app: &App, filters: &str) -> e2e::Answer {
    app.send(app.request(Method::POST, &format!("/v1/jobs/retry?{filters}"))).await
}

async fn finished(app: &App, job: &NewJob) -> JobView {
    let job = app.create(job).await;
    let ended = app.ended(&job).await;
    assert_eq!(ended.status, Status::Finished);
    ended
}

fn by_id(job: &JobView) -> Document {
    doc! { "_id": bson::Uuid::parse_str(&job.id).unwrap() }
}

async fn earlier_runs(app: &App) -> Collection<Document> {
    app.jobs().await.client().database("hasty_api").collection("earlier_runs")
}

#[tokio::test]
async fn nothing_to_retry_is_no_error() {
    let app = STACK.app().await;
    for filters in ["queue=nobody", "queue=nobody&status=finished", "status=queued", "object_id=nothing"] {
        let answer = retry_all(&app, filters).await.expect(200).json();
        assert_eq!((&answer["retried"], &answer["more"]), (&json!(0), &json!(false)), "{filters}");
    }
}

/// Between the reading of the jobs and the start of their next runs, another job takes the window of one: the retry
/// is held in between, where it copies the runs that have ended, by a copy that a transaction is about to write.
#[tokio::test]
async fn a_window_that_another_job_takes_meanwhile_hinders_no_retry() {
    let app = STACK.app().await;
    let windowed = NewJob::noop().queue("window").object("window");
    let first = finished(&app, &windowed).await;
    finished(&app, &NewJob::noop().queue("window")).await;
    // Its window is over, but it still has it.
    let an_hour_ago = DateTime::from_millis(DateTime::now().timestamp_millis() - 3_600_000);
    let jobs = app.jobs().await;
    jobs.update_one(by_id(&first), doc! { "$set": { "created_at": an_hour_ago } }).await.unwrap();

    let mut holder = jobs.client().start_session().await.unwrap();
    holder.start_transaction().await.unwrap();
    let copy = doc! { "_id": format!("{}.1", first.id) };
    let earlier: Collection<Document> = jobs.client().database("hasty_api").collection("earlier_runs");
    earlier.insert_one(copy).session(&mut holder).await.unwrap();
    let meanwhile = async {
        poll::until("the retry to copy", SOON, || is_copying(&app)).await.unwrap();
        app.create(&windowed).await;
        holder.abort_transaction().await.unwrap();
    };
    let (retried, ()) = tokio::join!(retry_all(&app, "queue=window&status=finished"), meanwhile);
    assert_eq!(retried.expect(200).json()["retried"], 2);
    assert_eq!(app.job(&first).await.run, 2);
    app.try_create(&windowed).await.expect(409);
}

async fn is_copying(app: &App) -> Result<(), String> {
    let admin = app.jobs().await.client().database("admin");
    let running = admin.run_command(doc! { "currentOp": 1, "active": true, "appName": "api-service" }).await;
    let running = format!("{:?}", running.unwrap().get_array("inprog").unwrap());
    if running.contains("earlier_runs") { Ok(()) } else { Err(running) }
}

#[tokio::test]
async fn a_job_that_the_database_refuses_to_change_does_not_hinder_the_others() {
    let app = STACK.app().await;
    let of_queue = NewJob::noop().queue("refused");
    let refused = finished(&app, &of_queue.clone().object("refused")).await;
    for _ in 0..3 {
        finished(&app, &of_queue).await;
    }
    let database = app.jobs().await.client().database("hasty_api");
    let validator = doc! { "$nor": [{ "object_id": "refused", "run": { "$gt": 1 } }] };
    database.run_command(doc! { "collMod": "jobs", "validator": validator }).await.unwrap();
    let retried = retry_all(&app, "queue=refused&status=finished").await;
    let alone = app.send(app.request(Method::POST, &format!("/v1/jobs/{}/retry", refused.id))).await;
    database.run_command(doc! { "collMod": "jobs", "validator": {} }).await.unwrap();

    assert_eq!(retried.expect(200).json()["retried"], 3);
    assert_eq!(alone.expect(503).problem().code, "unavailable");
    assert_eq!(app.job(&refused).await, refused);
}

/// As a replica of a newer version would have written them.
#[tokio::test]
async fn fields_that_are_not_known_outlive_a_retry() {
    let app = STACK.app().await;
    let job = NewJob::noop().queue("newer").object("newer");
    let job =
        app.send(app.request(Method::POST, "/v1/jobs").header("Idempotency-Key", "newer").json(&job)).await;
    let job = app.ended(&job.expect(201).job()).await;
    let newer = doc! { "depth": { "of": ["a", "newer", "version"] } };
    let jobs = app.jobs().await;
    jobs.update_one(by_id(&job), doc! { "$set": { "newer": &newer } }).await.unwrap();
    let before = jobs.find_one(by_id(&job)).await.unwrap().unwrap();

    app.send(app.request(Method::POST, &format!("/v1/jobs/{}/retry", job.id))).await.expect(202);
    let after = jobs.find_one(by_id(&job)).await.unwrap().unwrap();
    for field in
        ["newer", "dedup_key", "idempotency_key", "idempotency_hash", "payload", "created_at", "trace"]
    {
        assert_eq!(after.get(field), before.get(field), "{field}");
    }
    assert_eq!(after.get("run").and_then(bson::Bson::as_i64), Some(2));

    let id = format!("{}.1", job.id);
    let mut copy = earlier_runs(&app).await.find_one(doc! { "_id": id }).await.unwrap().expect("a copy");
    assert_eq!(copy.remove("job"), before.get("_id").cloned());
    copy.insert("_id", before.get("_id").unwrap());
    let sorted = |document: &Document| {
        let json: Value = serde_json::to_value(document).unwrap();
        json.to_string()
    };
    assert_eq!(sorted(&copy), sorted(&before));
}
