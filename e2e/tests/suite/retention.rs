//! What has ended goes when its time is over, and what was promised about it outlives it.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use e2e::{App, NewJob, Status};
use hasty::fsck::{self, Endpoints};
use lab::endpoints;
use reqwest::Method;
use serde_json::json;
use stack::{Stack, poll};

use super::deleted_jobs::{create_with_key, delete, stored_id};

const SOON: Duration = Duration::from_secs(120);

/// MongoDB looks for what its TTL indexes say is over once a minute, and takes its time.
const TTL: Duration = Duration::from_secs(180);

#[tokio::test]
async fn events_about_jobs_that_are_not_there_are_acked_and_not_stored() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let job = app.create(&NewJob::noop()).await;
    app.ended(&job).await;
    delete(&app, &job).await.expect(204);

    // Its end comes again, and one of a job that was never here.
    let log = app.stream("JOB_EVENTS").await;
    let told = log.get_last_raw_message_by_subject("job:finished.default").await.unwrap();
    let of_another = String::from_utf8(told.payload.to_vec()).unwrap();
    let of_another = of_another.replace(&job.id, &uuid::Uuid::now_v7().to_string());
    let (jetstream, mut last) = (app.jetstream().await, 0);
    for payload in [told.payload, of_another.into()] {
        let stored = jetstream.publish("job:finished.default", payload).await.unwrap();
        last = stored.await.unwrap().sequence;
    }
    let handled = || async {
        let reader = app.stream("JOB_EVENTS").await.consumer_info("api-service").await.unwrap();
        reader.ack_floor.stream_sequence >= last
    };
    poll::until("both events to be handled", SOON, handled).await.unwrap();
    assert_eq!(app.stored_jobs(doc! { "kind": { "$exists": true } }).await, 0);
    assert_eq!(app.get(&format!("/v1/jobs/{}", job.id)).await.status, 404);
    let set_aside = database(&app).await.collection::<Document>(DEAD_LETTERS);
    assert_eq!(set_aside.count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn a_job_goes_when_its_own_time_is_over_and_its_key_stays() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let kept = app.create(&NewJob::noop().with("keep_s", 3600)).await;
    let waits = app.create(&NewJob::noop().with("keep_s", 1).queue("nobody-serves-this")).await;
    let body = json!({ "kind": "noop", "keep_s": 20, "object_id": "brief" });
    let job = create_with_key(&app, "brief", &body).await.expect(201).job();
    // Of a run that a retry has replaced nothing stays either.
    app.ended(&job).await;
    app.send(app.request(Method::POST, &format!("/v1/jobs/{}/retry", job.id))).await.expect(202);
    let ended = app.ended_within(&job, SOON).await;
    assert_eq!((ended.run, ended.keep_s), (2, Some(20)));
    let gone = || async { app.get(&format!("/v1/jobs/{}", job.id)).await.status == 404 };
    poll::until("the job to go", Duration::from_secs(120), gone).await.unwrap();

    let again = create_with_key(&app, "brief", &body).await.expect(410).problem();
    assert_eq!((again.code.as_str(), again.job_id.as_ref()), ("job_gone", Some(&job.id)));
    app.try_create(&NewJob::noop().object("brief")).await.expect(409);
    let earlier = database(&app).await.collection::<Document>("earlier_runs");
    let none = || async { earlier.count_documents(doc! {}).await.unwrap() == 0 };
    poll::until("the earlier run to go", SOON, none).await.unwrap();
    for job in [&kept, &waits] {
        app.get(&format!("/v1/jobs/{}", job.id)).await.expect(200);
    }
    let report = fsck::check(&endpoints(app.stack())).await.unwrap();
    assert!(report.is_clean(), "{report}");
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
