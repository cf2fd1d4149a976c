//! What has ended goes when its time is over, and what was promised about it outlives it.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use e2e::{Answer, App, JobView, NewJob, Shared, Status};
use hasty::fsck::{self, Endpoints};
use lab::endpoints;
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Stack, poll};

/// Nothing goes here but what is deleted.
static LASTING: Shared = Shared::new(|| Stack::builder().api(2).workers(1));

const SOON: Duration = Duration::from_secs(30);

/// MongoDB looks for what its TTL indexes say is over once a minute, and takes its time.
const TTL: Duration = Duration::from_secs(180);

async fn create_with_key(app: &App, key: &str, body: &Value) -> Answer {
    app.send(app.request(Method::POST, "/v1/jobs").header("Idempotency-Key", key).json(body)).await
}

async fn delete(app: &App, job: &JobView) -> Answer {
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

fn stored_id(job: &JobView) -> bson::Uuid {
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
async fn events_about_jobs_that_are_not_there_are_counted_and_not_stored() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let job = app.create(&NewJob::noop()).await;
    app.ended(&job).await;
    delete(&app, &job).await.expect(204);

    // Its end comes again, and one of a job that was never here.
    let log = app.stream("JOB_EVENTS").await;
    let told = log.get_last_raw_message_by_subject("job:finished.default").await.unwrap();
    let of_another = String::from_utf8(told.payload.to_vec()).unwrap();
    let of_another = of_another.replace(&job.id, &uuid::Uuid::now_v7().to_string());
    let nats = app.broker().await;
    for payload in [told.payload, of_another.into()] {
        nats.publish("job:finished.default", payload).await.unwrap();
    }
    for line in ["events about jobs that are gone", "events about jobs that were never here"] {
        let is_logged = || async { app.stack().api(0).log().contains(line) };
        poll::until(line, SOON, is_logged).await.unwrap();
    }
    assert_eq!(app.get(&format!("/v1/jobs/{}", job.id)).await.status, 404);
    let set_aside = database(&app).await.collection::<Document>(DEAD_LETTERS);
    assert_eq!(set_aside.count_documents(doc! {}).await.unwrap(), 0);
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

#[tokio::test]
async fn what_has_ended_goes_and_what_was_promised_about_it_stays() {
    let app = App::start(Stack::builder().api(2).workers(1).env("RETENTION_S", 1)).await;
    let waits = app.create(&NewJob::noop().queue("nobody-serves-this")).await;
    let body = json!({ "kind": "noop", "object_id": "short-lived" });
    let job = create_with_key(&app, "short-lived", &body).await.expect(201).job();
    let path = format!("/v1/jobs/{}", job.id);
    let gone = || async { app.get(&path).await.status == 404 };
    poll::until("the job to go", SOON, gone).await.unwrap();
    let listed = app.get("/v1/jobs").await.expect(200).body;
    assert!(!listed.contains(&job.id) && listed.contains(&waits.id), "{listed}");

    let again = create_with_key(&app, "short-lived", &body).await.expect(410).problem();
    assert_eq!((again.code.as_str(), again.job_id.as_ref()), ("job_gone", Some(&job.id)));
    let same_object = app.try_create(&NewJob::noop().object("short-lived")).await.expect(409).problem();
    assert_eq!(same_object.job_id.as_ref(), Some(&job.id));
    // What the ledger has stays for longer, and nobody misses the job.
    assert_eq!(app.ledger(&job).await.status, Status::Finished);
    let place = Endpoints { retention: Duration::from_secs(1), ..endpoints(app.stack()) };
    let report = fsck::check(&place).await.unwrap();
    assert!(report.is_clean(), "{report}");

    // When all that was promised is over, the database removes the stub.
    let over = doc! { "$set": { "until": DateTime::now() } };
    app.jobs().await.update_one(doc! { "_id": stored_id(&job) }, over).await.unwrap();
    let free = || async { app.stored_jobs(doc! { "_id": stored_id(&job) }).await == 0 };
    poll::until("the stub to go", TTL, free).await.unwrap();
    assert_ne!(create_with_key(&app, "short-lived", &body).await.expect(201).job().id, job.id);
}

#[tokio::test]
async fn only_what_has_ended_long_ago_goes() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let (jobs, runs) = (app.jobs().await, ledger(&app).await);
    let [waiting, retried, recent, control] =
        [Age::days(40, 40), Age::days(40, 40), Age::days(40, 29), Age::days(35, 34)];
    let mut still_waits = waiting.job();
    still_waits.extend(
        doc! { "status": "queued", "queue": "nobody", "next_action": "check", "next_action_at": later() },
    );
    still_waits.remove("ended_at");
    let mut to_retry = retried.job();
    to_retry.insert("queue", "default");
    jobs.insert_many([still_waits, to_retry, recent.job(), control.job()]).await.unwrap();

    let path = |age: &Age| format!("/v1/jobs/{}", age.id);
    app.post(&format!("{}/retry", path(&retried)), &json!({})).await.expect(202);
    let second = || async {
        let job = app.get(&path(&retried)).await.expect(200).job();
        job.run == 2 && job.status == Status::Finished
    };
    poll::until("the second run to finish", SOON, second).await.unwrap();

    // Of the ledger: what has ended lately, what is still to be announced, and what runs stays.
    let records = [Age::days(40, 30), Age::days(40, 35), Age::days(40, 40), Age::days(39, 38)];
    let [lately, unannounced, open, record_control] = &records;
    let mut documents: Vec<Document> = records.iter().map(Age::record).collect();
    documents[1].extend(doc! { "next_action": "announce", "next_action_at": later() });
    documents[2].extend(
        doc! { "status": "running", "next_action": "run", "next_action_at": later(), "lease_until": later() },
    );
    documents[2].remove("ended_at");
    runs.insert_many(&documents).await.unwrap();
    let letters = [database(&app).await, runs.client().database("hasty_jobs")];
    for database in &letters {
        let of = |days| doc! { "_id": format!("JOBS.{days}"), "at": ago(days), "reason": "not_an_event" };
        let letters = database.collection::<Document>(DEAD_LETTERS);
        letters.insert_many([of(31), of(29)]).await.unwrap();
    }

    // A pass is made at the start. The controls are the last that each walk comes to.
    for node in [app.stack().api(0), app.stack().worker(0)] {
        node.terminate().await.unwrap();
        node.start().await.unwrap();
    }
    let gone = || async { app.get(&path(&control)).await.status == 404 };
    poll::until("an old job to go", SOON, gone).await.unwrap();
    for (age, status) in [(&waiting, "queued"), (&retried, "finished"), (&recent, "finished")] {
        assert_eq!(app.get(&path(age)).await.expect(200).json()["status"], status);
    }
    let attempts = app.get(&format!("{}/attempts", path(&retried))).await.expect(200).json();
    let of_runs: Vec<_> = attempts["attempts"].as_array().unwrap().iter().map(|one| &one["run"]).collect();
    assert_eq!(of_runs, [2], "the earlier run ended long ago");

    let record = |age: &Age| doc! { "_id": format!("{}.1", age.id) };
    let gone = || async { app.ledger_runs(record(record_control)).await == 0 };
    poll::until("an old record to go", SOON, gone).await.unwrap();
    for age in [lately, unannounced, open] {
        assert_eq!(app.ledger_runs(record(age)).await, 1);
    }
    for database in &letters {
        let letters = database.collection::<Document>(DEAD_LETTERS);
        let one_left = || async { letters.count_documents(doc! {}).await.unwrap() == 1 };
        poll::until("an old dead letter to go", SOON, one_left).await.unwrap();
        assert!(letters.find_one(doc! { "_id": "JOBS.29" }).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn thousands_of_old_jobs_go_and_disturb_nobody() {
    const OLD: usize = 20_000;
    let app = App::start(Stack::builder().api(2).workers(2).env("RETENTION_S", 3600)).await;
    let (jobs, runs) = (app.jobs().await, ledger(&app).await);
    for node in app.stack().apis().iter().chain(app.stack().workers()) {
        node.terminate().await.unwrap();
    }
    // Of the older half nothing stays, of the younger half a stub does.
    for days in [10, 2] {
        let ages: Vec<Age> = (0..OLD / 2).map(|_| Age::days(days, days)).collect();
        jobs.insert_many(ages.iter().map(Age::job)).ordered(false).await.unwrap();
        runs.insert_many(ages.iter().map(Age::record)).ordered(false).await.unwrap();
    }
    for node in app.stack().apis().iter().chain(app.stack().workers()) {
        node.start().await.unwrap();
    }
    let old_ones = || doc! { "queue": OLD_QUEUE };
    let mut done = 0;
    while done < 50 || app.stored_jobs(old_ones()).await > 0 {
        let created = app.create_many(&NewJob::noop(), 50).await;
        for job in app.all_ended(&created).await {
            assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
            let run = app.ledger(&job).await;
            assert_eq!((run.charged, run.lost), (1, 0), "{run:?}");
        }
        done += created.len();
    }
    eprintln!("{done} jobs ended meanwhile");
    assert_eq!(app.stored_jobs(doc! { "gone_at": { "$exists": true } }).await, OLD as u64 / 2);
    let records_left = || async {
        let left = app.ledger_runs(old_ones()).await;
        if left == OLD as u64 / 2 { Ok(()) } else { Err(left) }
    };
    poll::until("the older records to go", SOON, records_left).await.unwrap();
    let place = Endpoints { retention: Duration::from_secs(3600), ..endpoints(app.stack()) };
    let report = fsck::check(&place).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

/// Where messages are that could not be read.
const DEAD_LETTERS: &str = "dead_letters";

/// The queue of jobs that only look as if they had run.
const OLD_QUEUE: &str = "old";

async fn database(app: &App) -> mongodb::Database {
    app.jobs().await.client().database("hasty_api")
}

async fn ledger(app: &App) -> mongodb::Collection<Document> {
    let client = mongodb::Client::with_uri_str(app.stack().job_mongo().url()).await.unwrap();
    client.database("hasty_jobs").collection("runs")
}

fn ago(days: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() - days * 86_400_000)
}

fn later() -> DateTime {
    ago(-1)
}

/// When a finished job was created, and when it ended.
struct Age {
    id: uuid::Uuid,
    created: i64,
    ended: i64,
}

impl Age {
    fn days(created: i64, ended: i64) -> Self {
        let seconds = u64::try_from(ago(created).timestamp_millis() / 1000).unwrap();
        let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(seconds, 0, 0, 0));
        Self { id, created, ended }
    }

    /// The job's document, as the api-service writes it.
    fn job(&self) -> Document {
        let mut job = self.run();
        job.extend(doc! {
            "_id": bson::Uuid::from_bytes(self.id.into_bytes()), "run": 1, "position": 7_i64, "epoch": 1,
        });
        job
    }

    /// The run's document, as the job-service writes it.
    fn record(&self) -> Document {
        let mut record = self.run();
        record.extend(doc! { "_id": format!("{}.1", self.id), "charged": 1 });
        record
    }

    fn run(&self) -> Document {
        doc! {
            "kind": "noop", "queue": OLD_QUEUE, "priority": "normal", "payload": "{}", "timeout_s": 46,
            "max_attempts": 5, "created_at": ago(self.created), "attempt": 1, "status": "finished",
            "worker": "old-1-0000", "started_at": ago(self.ended), "ended_at": ago(self.ended), "result": "null",
        }
    }
}
