//! Messages that a newer version has written are kept for it, and hinder nobody meanwhile.

use std::time::Duration;

use bson::{Binary, Document, doc, oid::ObjectId, spec::BinarySubtype};
use e2e::{
    App, JobView, NewJob, Status,
    events::{cancel, created, event, finished, letters},
};
use serde_json::json;
use stack::{Builder, Stack, poll};

const PATIENCE: Duration = Duration::from_secs(60);

/// One replica of each; nobody serves the queue `later`.
fn one_of_each() -> Builder {
    Stack::builder().api(1).workers(1)
}

async fn waiting(app: &App) -> JobView {
    app.create(&NewJob::noop().queue("later")).await
}

fn body(letter: &Document) -> String {
    String::from_utf8(letter.get_binary_generic("body").unwrap().clone()).unwrap()
}

/// A message that no longer waits with the broker, but in a database.
fn letter(stream: &str, subject: &str, body: &str) -> Document {
    let body = Binary { subtype: BinarySubtype::Generic, bytes: body.into() };
    doc! {
        "_id": ObjectId::new().to_hex(), "at": bson::DateTime::now(), "stream": stream, "subject": subject,
        "body": body, "reason": "newer_version", "error": "set aside by an older replica",
    }
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_given_back_for_a_while_and_then_set_aside() {
    let app = App::start(one_of_each()).await;
    let job = waiting(&app).await;
    let reasonless = cancel(&job, "over_budget").to_string();
    let urgent = created(&job).to_string().replace("\"normal\"", "\"urgent\"");
    let newer = [
        ("JOB_EVENTS", "api-service", "job:finished.later", finished(&job, "skipped").to_string()),
        ("JOBS", "workers-default-normal", "job:created.default.normal", urgent),
        ("JOB_CONTROL", "job-service", "job:cancel.later", reasonless),
    ];
    for (stream, consumer, subject, body) in &newer {
        app.publish(subject, body.as_str()).await;
        let comes_again = || async {
            let info = app.consumer(stream, consumer).await;
            if info.num_redelivered == 1 { Ok(()) } else { Err(format!("{info:?}")) }
        };
        poll::until("the message to come again", PATIENCE, comes_again).await.expect(stream);
    }
    assert_eq!(app.api_dead_letters().await.count_documents(doc! {}).await.unwrap(), 0);
    assert_eq!(app.job_dead_letters().await.count_documents(doc! {}).await.unwrap(), 0);
    // The others go on.
    assert_eq!(app.ended(&app.create(&NewJob::noop()).await).await.status, Status::Finished);

    for node in [app.stack().api(0), app.stack().worker(0)] {
        node.kill().await.unwrap();
        node.set_env("UNREADABLE_WAIT_S", "1");
        node.start().await.unwrap();
    }
    let of_api = app.api_dead_letters().await;
    let of_job = app.job_dead_letters().await;
    for (stream, consumer, subject, sent) in &newer {
        let of = if *stream == "JOB_EVENTS" { &of_api } else { &of_job };
        let set_aside = &letters(of, doc! { "stream": stream }, 1).await[0];
        assert_eq!(set_aside.get_str("reason").unwrap(), "newer_version", "{set_aside}");
        assert_eq!((set_aside.get_str("subject").unwrap(), body(set_aside)), (*subject, sent.clone()));
        let is_acked = || async { app.consumer(stream, consumer).await.num_ack_pending == 0 };
        poll::until("it to be acked", PATIENCE, is_acked).await.expect(stream);
    }
    assert_eq!(app.job(&job).await.status, Status::Queued);
}

#[tokio::test]
async fn what_is_no_event_is_set_aside_at_once() {
    let app = App::start(one_of_each()).await;
    let garbage = ["nonsense", "{}", "[]", "[7]", "[[{}]]"];
    for (stream, subject) in [
        ("JOB_EVENTS", "job:started.later"),
        ("JOBS", "job:created.default.high"),
        ("JOB_CONTROL", "job:cancel.later"),
    ] {
        app.publish_many(subject, garbage.map(str::to_owned)).await;
        let of =
            if stream == "JOB_EVENTS" { app.api_dead_letters().await } else { app.job_dead_letters().await };
        let set_aside =
            letters(&of, doc! { "stream": stream, "reason": "not_an_event" }, garbage.len()).await;
        let mut bodies: Vec<String> = set_aside.iter().map(body).collect();
        bodies.sort_unstable();
        // Of a list, its members.
        assert_eq!(bodies, ["7", "[]", "[{}]", "nonsense", "{}"]);
    }
}

#[tokio::test]
async fn many_that_can_not_be_read_stall_nothing() {
    const MANY: usize = 1500;
    const MOST: usize = 1000;
    let app = App::start(one_of_each()).await;
    let job = waiting(&app).await;
    let many = |event_type: &str| vec![event(event_type, &job.id, &json!({})).to_string(); MANY];
    app.publish_many("job:started.later", many("job:paused")).await;
    app.publish_many("job:created.default.normal", many("job:put_off")).await;
    let waits = [
        (app.api_dead_letters().await, "JOB_EVENTS", "api-service"),
        (app.job_dead_letters().await, "JOBS", "workers-default-normal"),
    ];
    for (letters, stream, consumer) in &waits {
        let settled = || async {
            let set_aside = letters.count_documents(doc! { "stream": stream }).await.unwrap();
            let given_back = app.consumer(stream, consumer).await.num_ack_pending;
            let all = usize::try_from(set_aside).unwrap() + given_back;
            if all == MANY && given_back <= MOST {
                Ok(())
            } else {
                Err(format!("{set_aside} + {given_back}"))
            }
        };
        poll::until("no more than a thousand to be given back", PATIENCE, settled).await.expect(stream);
    }
    let jobs = app.create_many(&NewJob::noop(), 20).await;
    assert!(app.all_ended(&jobs).await.iter().all(|job| job.status == Status::Finished));
}

#[tokio::test]
async fn what_an_older_replica_set_aside_is_taken_up() {
    let app = App::start(one_of_each().env("UNREADABLE_WAIT_S", 2)).await;
    let (ended, announced, stopped) = (waiting(&app).await, waiting(&app).await, waiting(&app).await);
    let unknown = event("job:paused", &ended.id, &json!({})).to_string();
    let of_api = app.api_dead_letters().await;
    of_api
        .insert_many([
            letter("JOB_EVENTS", "job:finished.later", &finished(&ended, "finished").to_string()),
            letter("JOB_EVENTS", "job:started.later", &unknown),
        ])
        .await
        .unwrap();
    assert_eq!(app.ended_within(&ended, PATIENCE).await.status, Status::Finished);

    let of_job = app.job_dead_letters().await;
    let mut announcement = created(&announced);
    announcement["data"]["queue"] = "default".into();
    of_job
        .insert_many([
            letter("JOBS", "job:created.default.normal", &announcement.to_string()),
            letter("JOBS", "job:created.default.normal", &created(&ended).to_string()),
            letter("JOB_CONTROL", "job:cancel.later", &cancel(&stopped, "requested").to_string()),
        ])
        .await
        .unwrap();
    assert_eq!(app.ended_within(&announced, PATIENCE).await.status, Status::Finished);
    assert_eq!(app.ended_within(&stopped, PATIENCE).await.status, Status::Cancelled);

    // What was taken up is gone. What can not be read is left, and what is of a queue that is not served here.
    assert_eq!(body(&letters(&of_api, doc! {}, 1).await[0]), unknown);
    assert!(body(&letters(&of_job, doc! {}, 1).await[0]).contains(&ended.id));
}

#[tokio::test]
async fn a_stream_of_an_older_version_gets_the_subjects_that_it_lacks_and_nothing_else() {
    let app = App::start(one_of_each().env("WORKER_FAULTS", true).env("RETRY_BASE_S", 0.05)).await;
    let ours = app.stream("JOB_EVENTS").await.cached_info().config.clone();
    let mut older = ours.clone();
    older.subjects.retain(|subject| !subject.starts_with("job:retrying"));
    older.subjects.push("of:others".to_owned());
    older.max_bytes /= 2;
    assert_eq!(older.subjects.len(), ours.subjects.len());
    app.jetstream().await.update_stream(older.clone()).await.unwrap();
    app.stack().worker(0).restart().await.unwrap();
    let has_all = || async {
        let found = app.stream("JOB_EVENTS").await.cached_info().config.clone();
        if ours.subjects.iter().all(|subject| found.subjects.contains(subject)) {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    };
    let found = poll::until("the subjects to be added", PATIENCE, has_all).await.unwrap();
    assert!(found.subjects.contains(&"of:others".to_owned()));
    assert_eq!((found.max_bytes, found.max_age), (older.max_bytes, older.max_age));
    let ended = app.ended(&app.create(&NewJob::fault(&["retry", "done"])).await).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 2));
}
