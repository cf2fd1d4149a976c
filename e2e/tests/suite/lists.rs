//! Lists, batches and idempotency keys.

use std::collections::HashSet;

use bson::{DateTime, doc};
use e2e::{App, NewJob, Shared, Status};
use reqwest::Method;
use serde_json::{Value, json};
use stack::Stack;

static STACK: Shared = Shared::new(|| Stack::builder().api(2).workers(1));

/// All ids of a list, page by page.
async fn ids(app: &App, query: &str) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/jobs?{query}&page_token={token}")).await.expect(200).json();
        let jobs = page["jobs"].as_array().expect("a list");
        ids.extend(jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
        token = page["next_page_token"].as_str().expect("a token").to_owned();
        if token.is_empty() {
            return ids;
        }
    }
}

#[tokio::test]
async fn no_page_misses_or_repeats_a_job_while_others_are_created() {
    let app = STACK.app().await;
    let mine = app.create_many(&NewJob::noop().queue("paged"), 95).await;
    let others = async {
        for _ in 0..20 {
            app.create_many(&NewJob::noop().queue("paged"), 5).await;
        }
    };
    let (listed, ()) = tokio::join!(ids(&app, "queue=paged&page_size=10"), others);
    let unique: HashSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a job was repeated");
    assert!(mine.iter().all(|job| unique.contains(&job.id)), "a job was missed");
    assert!(listed.is_sorted_by(|a, b| a > b), "newest first");
}

#[tokio::test]
async fn filters_are_combined() {
    let app = STACK.app().await;
    let done = app.create(&NewJob::noop().object("filtered-1")).await;
    app.ended(&done).await;
    let waits = app.create(&NewJob::noop().queue("nobody").object("filtered-2")).await;
    assert_eq!(
        ids(&app, "object_id=filtered-1&status=finished,failed&kind=noop").await,
        std::slice::from_ref(&done.id)
    );
    assert!(ids(&app, "object_id=filtered-1&status=queued").await.is_empty());
    assert_eq!(
        ids(&app, "queue=nobody&status=queued&object_id=filtered-2").await,
        std::slice::from_ref(&waits.id)
    );
    let created_at =
        app.get(&format!("/v1/jobs/{}", waits.id)).await.json()["created_at"].as_str().unwrap().to_owned();
    assert_eq!(ids(&app, &format!("queue=nobody&created_after={created_at}")).await, [waits.id]);
    assert!(ids(&app, &format!("queue=nobody&created_before={created_at}")).await.is_empty());
}

#[tokio::test]
async fn a_bad_query_is_named() {
    let app = STACK.app().await;
    for (query, name) in [
        ("status=done", "status"),
        ("page_size=0", "page_size"),
        ("page_token=x", "page_token"),
        ("shoe=1", "shoe"),
    ] {
        let problem = app.get(&format!("/v1/jobs?{query}")).await.expect(400).json();
        assert_eq!(
            (&problem["code"], &problem["errors"][0]["field"]),
            (&json!("invalid_parameter"), &json!(name))
        );
    }
}

#[tokio::test]
async fn each_job_of_a_batch_has_an_answer_of_its_own() {
    let app = STACK.app().await;
    let of = |object: &str| json!({ "kind": "noop", "object_id": object });
    let batch = json!({ "jobs": [of("batch-1"), { "kind": "No" }, of("batch-1"), { "kind": "noop", "payload": 7 }, of("batch-2")] });
    let answer = app.post("/v1/jobs/batch", &batch).await.expect(200).json();
    let results = answer["results"].as_array().unwrap();
    let mut statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    // Which of the two for one object is first is not said.
    if statuses[0] == 409 {
        statuses.swap(0, 2);
    }
    assert_eq!(statuses, [201, 422, 409, 422, 201]);
    assert_eq!(results[1]["error"]["errors"][0]["field"], "kind");
    assert_eq!(results[3]["error"]["errors"][0]["field"], "payload");
    let id = results[4]["job"]["id"].as_str().unwrap();
    let ended = app.get(&format!("/v1/jobs/{id}?wait_s=20")).await.expect(200).json();
    assert_eq!(ended["status"], "finished");
}

async fn create_with_key(app: &App, key: &str, body: &Value) -> e2e::Answer {
    app.send(app.request(Method::POST, "/v1/jobs").header("Idempotency-Key", key).json(body)).await
}

#[tokio::test]
async fn the_same_request_again_answers_with_the_first_job() {
    let app = STACK.app().await;
    let body = json!({ "kind": "noop", "object_id": "keyed" });
    let first = create_with_key(&app, "key-1", &body).await.expect(201).job();
    let again = create_with_key(&app, "key-1", &json!({ "object_id": "keyed", "kind": "noop" })).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200).job().id, first.id);
    let other = create_with_key(&app, "key-1", &json!({ "kind": "noop" })).await.expect(422).json();
    assert_eq!((&other["code"], &other["job_id"]), (&json!("idempotency_key_reused"), &json!(first.id)));
    assert_eq!(create_with_key(&app, "key-2", &body).await.status, 409);
}

#[tokio::test]
async fn two_with_one_key_at_once_create_one_job() {
    let app = STACK.app().await;
    let body = json!({ "kind": "noop" });
    let answers = futures::future::join_all((0..30).map(|_| create_with_key(&app, "key-3", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    let ids: HashSet<String> = answers.iter().map(|answer| answer.job().id).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_key_is_remembered_for_a_day() {
    let app = STACK.app().await;
    let body = json!({ "kind": "noop" });
    let first = create_with_key(&app, "key-4", &body).await.expect(201).job();
    let jobs = app.jobs().await;
    let created_before = async |hours: i64| {
        let at = DateTime::from_millis(DateTime::now().timestamp_millis() - hours * 3_600_000);
        let (holder, older) = (doc! { "idempotency_key": "key-4" }, doc! { "$set": { "created_at": at } });
        assert_eq!(jobs.update_one(holder, older).await.unwrap().modified_count, 1);
    };
    created_before(23).await;
    assert_eq!(create_with_key(&app, "key-4", &body).await.expect(200).job().id, first.id);
    created_before(25).await;
    let second = create_with_key(&app, "key-4", &body).await.expect(201).job();
    assert_ne!(second.id, first.id);
    assert_eq!(create_with_key(&app, "key-4", &body).await.expect(200).job().id, second.id);
}

#[tokio::test]
async fn numbers_and_nested_payloads_come_back_as_sent() {
    let app = STACK.app().await;
    let payload =
        r#"{"n": 1.50e+2, "big":123456789012345678901234567890, "s":"\u00fc ü 🦀", "a":[[{"":null}]] }"#;
    let body = format!(r#"{{"kind":"noop","payload":{payload}}}"#);
    let request = app.request(Method::POST, "/v1/jobs").header("content-type", "application/json").body(body);
    let job = app.send(request).await.expect(201).job();
    let ended = app.get(&format!("/v1/jobs/{}?wait_s=20", job.id)).await;
    assert!(ended.body.contains(payload), "{}", ended.body);
    assert_eq!(ended.job().status, Status::Finished);
}

#[tokio::test]
async fn head_and_options_work() {
    let app = STACK.app().await;
    let head = app.send(app.request(Method::HEAD, "/v1/jobs")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let options = app.send(app.request(Method::OPTIONS, "/v1/jobs")).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
}
