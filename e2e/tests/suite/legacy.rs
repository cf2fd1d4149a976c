//! The older system's clients, which go on working unchanged.

use std::time::Duration;

use e2e::{App, JobView, NewJob, Shared};
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Stack, poll};
use time::OffsetDateTime;

static STACK: Shared = Shared::new(|| Stack::builder().api(2).workers(1).env("WORKER_FAULTS", true));

const SOON: Duration = Duration::from_secs(120);

const SECONDS_SLEPT: std::ops::RangeInclusive<f64> = 15.0..=45.0;

#[tokio::test]
async fn a_job_of_the_older_system_lives_its_whole_life() {
    let app = STACK.app().await;
    let before = OffsetDateTime::now_utc().unix_timestamp();
    let created = app.old_create("object-1").await.expect(201);
    let id = only(&only(&created.json(), "message"), "job_id").as_str().unwrap().to_owned();

    let processing = app.old_job(&id).await.expect(200);
    assert_eq!(processing.header("content-type"), Some("application/json"));
    let timestamp = processing.json()["message"]["timestamp"].as_i64().unwrap();
    assert!((before..=before + 60).contains(&timestamp), "{timestamp}");
    let view = |status: &str, slept: Value| {
        json!({ "message": { "job_id": id, "object_id": "object-1", "status": status,
            "timestamp": timestamp, "sleep_time_used": slept } })
    };
    assert_eq!(processing.json(), view("processing", json!(0)));

    let job: JobView = app.get(&format!("/v1/jobs/{id}")).await.expect(200).job();
    assert_eq!((job.kind.as_str(), job.object_id.as_deref()), ("sleep", Some("object-1")));
    let running = app.running(&job).await;
    assert_eq!(app.old_job(&id).await.expect(200).json(), view("processing", json!(0)));

    let ended = app.ended_within(&running, Duration::from_secs(180)).await;
    let finished = app.old_job(&id).await.expect(200).json();
    let slept = finished["message"]["sleep_time_used"].clone();
    assert!(SECONDS_SLEPT.contains(&slept.as_f64().unwrap()), "{finished}");
    assert_eq!(finished, view("finished", slept.clone()));
    assert_eq!(ended.result, Some(json!({ "slept_s": slept })));
    let took = ended.ended_at.unwrap() - ended.started_at.unwrap();
    assert!(took.as_seconds_f64() >= slept.as_f64().unwrap(), "said {slept} s, took {took}");
}

#[tokio::test]
async fn work_of_the_older_api_is_accepted_and_done() {
    let app = App::start(Stack::builder().api(2).workers(1).env("WORK_KEEP_S", 20)).await;
    let worker = app.stack().worker(0);
    worker.pause();
    let accepted = app.send(app.request(Method::POST, "/api/work?data=h%C3%A4sty%20jobs")).await.expect(200);
    let id = only(&accepted.json(), "callback").as_str().unwrap().to_owned();
    let status = || async { app.get(&format!("/api/status/{id}")).await };
    assert_eq!(status().await.expect(200).json(), json!({ "status": "accepted", "value": "" }));
    let job = app.get(&format!("/v1/jobs/{id}")).await.expect(200).job();
    assert_eq!(job.payload, Some(json!({ "text": "hästy jobs", "pause_s": 3 })));
    worker.resume();
    let done = || async {
        let answer = status().await.expect(200).json();
        if answer["status"] == "done" {
            Ok(answer["value"].as_str().unwrap().to_owned())
        } else {
            Err(answer)
        }
    };
    let value = poll::until("the work to be done", SOON, done).await.unwrap();
    let sorted = |text: &str| {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters
    };
    assert_eq!(sorted(&value), sorted("hästy jobs"));
    let gone = || async { status().await.status == 404 };
    poll::until("its time to be over", Duration::from_secs(120), gone).await.unwrap();
    app.get("/api/status/nonsense").await.expect(404);
    let wrong = app.send(app.request(Method::POST, "/api/work?date=x")).await.expect(400).problem();
    assert_eq!(wrong.fields(), ["data", "date"]);
}

#[tokio::test]
async fn the_same_object_within_five_minutes_is_refused() {
    let app = STACK.app().await;
    app.old_create("object-2").await.expect(201);
    app.old_create("object-3").await.expect(201);
    let refused = app.old_create("object-2").await.expect(400);
    let message = "you need to wait 5 minutes before rerunning the same job";
    assert_eq!(refused.json(), json!({ "message": message }));

    // The window is the object's, whichever way the job came.
    app.try_create(&NewJob::noop().object("object-2")).await.expect(409);
    app.create(&NewJob::noop().object("object-4")).await;
    assert_eq!(app.old_create("object-4").await.expect(400).json(), json!({ "message": message }));
}

#[tokio::test]
async fn a_request_without_an_object_id_is_told_so() {
    let app = STACK.app().await;
    for body in
        [json!({}), json!({ "object": "1" }), json!({ "object_id": "" }), json!({ "object_id": null })]
    {
        let refused = app.post("/", &body).await.expect(400);
        assert_eq!(refused.json(), json!({ "message": "you must provide an object_id" }), "{body}");
    }
    for body in ["", "nonsense", "[]"] {
        let refused = app.send(app.request(reqwest::Method::POST, "/").body(body)).await.expect(400);
        assert_eq!(refused.json(), json!({ "message": "you must provide an object_id" }), "{body}");
    }
    // Their client never had to say that it sends JSON.
    let plain = app.request(reqwest::Method::POST, "/").body(r#"{"object_id":"plain","more":1}"#);
    app.send(plain.header("content-type", "text/plain")).await.expect(201);
}

#[tokio::test]
async fn an_unknown_job_is_not_found() {
    let app = STACK.app().await;
    for id in ["0191d9ab-7d2a-7b3c-8d4e-5f60718293a4", "nonsense"] {
        let answer = app.old_job(id).await.expect(404);
        assert_eq!(answer.json(), json!({ "message": format!("no job with id: {id}") }));
    }
}

#[tokio::test]
async fn a_job_that_failed_or_ran_out_of_time_is_cancelled_to_them() {
    let app = STACK.app().await;
    let failed = app.create(&NewJob::fault(&["fail"])).await;
    let late = app.create(&NewJob::sleep(30.0).timeout_s(1).object("object-5")).await;
    for job in app.all_ended(&[failed, late]).await {
        let seen = app.old_job(&job.id).await.expect(200).json();
        assert_eq!(seen["message"]["status"], "cancelled");
        assert_eq!(seen["message"]["sleep_time_used"], 0);
        assert_eq!(seen["message"]["object_id"], json!(job.object_id.unwrap_or_default()));
    }
}

/// The value of the only field that an object has.
fn only(object: &Value, field: &str) -> Value {
    let fields: Vec<_> = object.as_object().unwrap().keys().collect();
    assert_eq!(fields, [field], "{object}");
    object[field].clone()
}
