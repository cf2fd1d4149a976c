//! Hasty as a black box: only HTTP, against the stack at `E2E_BASE_URL`, or one of one's own where it is not set.

use std::ops::Deref;
use std::time::{Duration, Instant};

use e2e::{App, Client, NewJob, Shared, Status};
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use stack::Stack;

static STACK: Shared = Shared::new(Stack::builder);

/// What is under test: strangers may use it at the same time, and may have before.
enum Hasty {
    Own(App),
    Running(Client),
}

impl Hasty {
    async fn get() -> Self {
        match std::env::var("E2E_BASE_URL") {
            Ok(url) if !url.is_empty() => Self::Running(Client::new(&url)),
            _ => Self::Own(STACK.app().await),
        }
    }
}

impl Deref for Hasty {
    type Target = Client;
    fn deref(&self) -> &Client {
        match self {
            Self::Own(app) => app,
            Self::Running(client) => client,
        }
    }
}

/// A name that nobody used before.
fn fresh(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4())
}

#[tokio::test]
async fn it_is_there_and_ready() {
    let hasty = Hasty::get().await;
    assert_eq!(hasty.get("/health/live").await.expect(200).json(), json!({ "status": "ok" }));
    assert_eq!(hasty.ready().await.expect(200).json()["status"], "ok");
}

#[tokio::test]
async fn a_job_is_created_read_and_ends() {
    let hasty = Hasty::get().await;
    let object = fresh("flow");
    let answer = hasty.try_create(&NewJob::sleep(0.5).object(&object)).await.expect(201);
    let created = answer.job();
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{}", created.id).as_str()));
    assert_eq!((created.status, created.object_id.as_deref()), (Status::Queued, Some(object.as_str())));
    assert_eq!(hasty.job(&created).await.id, created.id);

    let asked = Instant::now();
    let ended = hasty.job_within(&created, 60).await;
    assert_eq!((ended.status, ended.run, ended.attempt), (Status::Finished, 1, 1));
    assert_eq!(ended.result, Some(json!({ "slept_s": 0.5 })));
    // The read came back at the end, not when its time was over.
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
    assert_eq!(hasty.job(&created).await, ended);
}

#[tokio::test]
async fn a_hundred_at_once_all_finish() {
    let hasty = Hasty::get().await;
    let created = hasty.create_many(&NewJob::noop(), 100).await;
    for job in hasty.all_ended(&created).await {
        assert_eq!(job.status, Status::Finished, "{job:?}");
    }
}

#[tokio::test]
async fn a_shuffle_is_a_permutation() {
    let hasty = Hasty::get().await;
    let text = "the quick brown fox jumps over the lazy dög 🦀";
    let jobs = hasty.create_many(&NewJob::shuffle(text), 5).await;
    let sorted = |text: &str| {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters
    };
    let mut results = Vec::new();
    for job in hasty.all_ended(&jobs).await {
        let result = job.result.unwrap();
        let shuffled = result["text"].as_str().unwrap().to_owned();
        assert_eq!(sorted(&shuffled), sorted(text));
        results.push(shuffled);
    }
    assert!(results.iter().any(|result| result != text), "nothing was shuffled");
}

#[tokio::test]
async fn the_same_object_again_is_refused_also_at_the_same_instant() {
    let hasty = Hasty::get().await;
    let wish = NewJob::noop().object(&fresh("twice"));
    let answers = join_all((0..20).map(|_| hasty.try_create(&wish))).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(created.len(), 1, "{created:?}");
    let job = created[0].job();
    for answer in refused {
        let answer = answer.expect(409);
        assert_eq!(answer.problem().job_id.as_ref(), Some(&job.id));
        assert!(answer.retry_after_s() > 0);
    }
}

#[tokio::test]
async fn a_job_over_its_time_is_cancelled() {
    let hasty = Hasty::get().await;
    let ended = hasty.ended(&hasty.create(&NewJob::sleep(60.0).timeout_s(1)).await).await;
    assert_eq!((ended.status, ended.attempt), (Status::Cancelled, 1));
    assert_eq!((ended.reason.as_deref(), ended.result), (Some("timeout"), None));
}

#[tokio::test]
async fn the_older_systems_clients_are_served() {
    let hasty = Hasty::get().await;
    let object = fresh("old");
    let created = hasty.old_create(&object).await.expect(201).json();
    let id = created["message"]["job_id"].as_str().unwrap();
    assert_eq!(created, json!({ "message": { "job_id": id } }));

    let read = hasty.old_job(id).await.expect(200).json();
    let timestamp = read["message"]["timestamp"].as_i64().unwrap();
    let view = json!({ "job_id": id, "object_id": object, "status": "processing", "timestamp": timestamp,
        "sleep_time_used": 0 });
    assert_eq!(read, json!({ "message": view }));
    let wait = "you need to wait 5 minutes before rerunning the same job";
    assert_eq!(hasty.old_create(&object).await.expect(400).json(), json!({ "message": wait }));

    let missing = json!({ "message": "you must provide an object_id" });
    assert_eq!(hasty.post("/", &json!({})).await.expect(400).json(), missing);
    let unknown = uuid::Uuid::now_v7();
    let not_there = json!({ "message": format!("no job with id: {unknown}") });
    assert_eq!(hasty.old_job(&unknown.to_string()).await.expect(404).json(), not_there);

    let finished = hasty.ended(&hasty.create(&NewJob::sleep(0.25)).await).await;
    let read = hasty.old_job(&finished.id).await.expect(200).json();
    assert_eq!(
        (&read["message"]["status"], &read["message"]["sleep_time_used"]),
        (&json!("finished"), &json!(0.25))
    );
}

#[tokio::test]
async fn bad_input_gets_a_clear_answer() {
    let hasty = Hasty::get().await;
    let problem =
        hasty.try_create(&NewJob::noop().priority("urgent").timeout_s(0)).await.expect(422).problem();
    assert_eq!((problem.code.as_str(), problem.fields()), ("invalid_field", vec!["priority", "timeout_s"]));

    let post = |content_type: &str, body: &'static str| {
        hasty.send(hasty.request(Method::POST, "/v1/jobs").header("content-type", content_type).body(body))
    };
    let codes = [
        (400, "malformed_body", post("application/json", "{").await),
        (415, "unsupported_media_type", post("text/plain", "{}").await),
        (404, "job_not_found", hasty.get("/v1/jobs/nonsense").await),
        (404, "path_not_found", hasty.get("/v1/nothing/here").await),
        (405, "method_not_allowed", hasty.send(hasty.request(Method::DELETE, "/v1/jobs")).await),
    ];
    for (status, code, answer) in codes {
        assert_eq!(answer.expect(status).problem().code, code);
    }
}
