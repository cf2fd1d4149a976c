//! Requests that are sent again: the same job, whichever way they are written.

use std::collections::HashSet;

use bson::doc;
use e2e::{Answer, App, NewJob, Shared};
use reqwest::Method;
use serde_json::{Value, json};
use stack::Stack;

static STACK: Shared = Shared::new(|| Stack::builder().api(2).workers(0));

async fn batch(app: &App, header: Option<&str>, jobs: &Value) -> Answer {
    let request = app.request(Method::POST, "/v1/jobs/batch").json(&json!({ "jobs": jobs }));
    let request = header.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
    app.send(request).await
}

/// The status of each job of a batch, its id or the code of its error, and whether it is replayed.
fn results(answer: &Answer) -> Vec<(u64, String, bool)> {
    let answer = answer.json();
    let one = |result: &Value| {
        let told = result["job"]["id"].as_str().or(result["error"]["code"].as_str()).unwrap().to_owned();
        (result["status"].as_u64().unwrap(), told, result["replayed"].as_bool().unwrap_or(false))
    };
    answer["results"].as_array().unwrap().iter().map(one).collect()
}

fn statuses(answer: &Answer) -> Vec<u64> {
    results(answer).into_iter().map(|(status, ..)| status).collect()
}

async fn one(app: &App, key: &str, body: &str) -> Answer {
    let request = app.request(Method::POST, "/v1/jobs").header("Idempotency-Key", key);
    app.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

#[tokio::test]
async fn a_batch_that_is_sent_again_answers_with_its_first_jobs() {
    let app = STACK.app().await;
    let jobs =
        json!([{ "kind": "noop", "object_id": "again" }, { "kind": "No" }, { "kind": "noop", "queue": "a" }]);
    let first = batch(&app, Some("batch-1"), &jobs).await.expect(200);
    assert_eq!(statuses(&first), [201, 422, 201]);
    let again = results(&batch(&app, Some("batch-1"), &jobs).await.expect(200));
    let ids: Vec<_> = results(&first).into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(again[0], (200, ids[0].clone(), true));
    assert_eq!(again[1], (422, "invalid_field".to_owned(), false));
    assert_eq!(again[2], (200, ids[2].clone(), true));

    // At another place it is another job, and in the place of one it is not that one.
    let moved = json!([{ "kind": "noop", "queue": "a" }, { "kind": "noop" }]);
    assert_eq!(
        results(&batch(&app, Some("batch-1"), &moved).await.expect(200))[0],
        (422, "idempotency_key_reused".to_owned(), false)
    );
    // The key of one job alone.
    let alone = one(&app, "batch-1:2", r#"{"kind":"noop","queue":"a"}"#).await.expect(200);
    assert_eq!((alone.header("idempotent-replayed"), alone.job().id), (Some("true"), ids[2].clone()));
    // Another header stands for other jobs.
    assert_eq!(statuses(&batch(&app, Some("batch-2"), &json!([{ "kind": "noop" }])).await), [201]);
    // And without one, nothing is remembered.
    let bare = json!([{ "kind": "noop" }, { "kind": "noop" }]);
    assert_eq!(
        [statuses(&batch(&app, None, &bare).await), statuses(&batch(&app, None, &bare).await)],
        [[201, 201]; 2]
    );
}

#[tokio::test]
async fn many_batches_with_one_key_at_once_create_their_jobs_once() {
    let app = STACK.app().await;
    let jobs: Value =
        (0..20).map(|number| json!({ "kind": "noop", "object_id": format!("once-{number}") })).collect();
    let answers = futures::future::join_all((0..10).map(|_| batch(&app, Some("once"), &jobs))).await;
    let answers: Vec<_> = answers.iter().map(results).collect();
    for place in 0..20 {
        let of_place: Vec<_> = answers.iter().map(|answer| &answer[place]).collect();
        assert_eq!(of_place.iter().filter(|(status, ..)| *status == 201).count(), 1, "{of_place:?}");
        assert_eq!(of_place.iter().map(|(_, id, _)| id).collect::<HashSet<_>>().len(), 1, "{of_place:?}");
    }
}

#[tokio::test]
async fn each_job_of_a_batch_may_have_a_key_of_its_own() {
    let app = STACK.app().await;
    let (longest, too_long) = ("x".repeat(256), "x".repeat(257));
    let with = |key: Value| json!({ "kind": "noop", "idempotency_key": key });
    let jobs = json!([
        with(json!("own-1")),
        with(json!(longest)),
        with(json!(too_long)),
        with(json!("")),
        with(json!(" own")),
        with(json!("ü")),
        with(json!(7)),
        with(Value::Null),
        { "kind": "noop" },
    ]);
    let first = batch(&app, None, &jobs).await.expect(200);
    assert_eq!(statuses(&first), [201, 201, 422, 422, 422, 422, 422, 422, 201]);
    for wrong in 2..8 {
        assert_eq!(
            first.json()["results"][wrong]["error"]["errors"][0]["field"],
            "idempotency_key",
            "{wrong}"
        );
    }
    let again = results(&batch(&app, None, &jobs).await);
    assert_eq!((again[0].0, again[1].0, again[8].0), (200, 200, 201));
    let alone = one(&app, "own-1", r#"{"kind":"noop"}"#).await.expect(200).job();
    assert_eq!((&alone.id, again[0].2), (&again[0].1, true));
    // It is a batch's field, not a job's.
    let refused = app.try_create(&NewJob::noop().with("idempotency_key", "own-1")).await.expect(422);
    assert_eq!(refused.problem().fields(), ["idempotency_key"]);
}

#[tokio::test]
async fn a_key_is_the_headers_or_the_jobs_own() {
    let app = STACK.app().await;
    let jobs = json!([{ "kind": "noop", "queue": "both" }, { "kind": "noop", "queue": "both", "idempotency_key": "a" }]);
    let problem = batch(&app, Some("both"), &jobs).await.expect(422).problem();
    assert_eq!((problem.code.as_str(), problem.fields()), ("invalid_field", vec!["jobs.1.idempotency_key"]));
    for wrong in ["", "x".repeat(257).as_str(), "\u{fc}"] {
        let problem = batch(&app, Some(wrong), &json!([{ "kind": "noop", "queue": "both" }])).await;
        if !wrong.is_empty() {
            assert_eq!(problem.expect(400).problem().fields(), ["Idempotency-Key"], "{wrong:?}");
        }
    }
    let longest = "y".repeat(256);
    assert_eq!(statuses(&batch(&app, Some(&longest), &json!([{ "kind": "noop" }])).await), [201]);
    assert!(app.stored_jobs(doc! { "queue": "both" }).await <= 1);
}

#[tokio::test]
async fn of_two_with_one_key_in_a_batch_the_first_is_the_job() {
    let app = STACK.app().await;
    for round in 0..10 {
        let of = |queue: &str| json!({ "kind": "noop", "queue": queue, "idempotency_key": format!("twice-{round}") });
        let answer =
            batch(&app, None, &json!([of("a"), { "kind": "noop" }, of("b"), of("a")])).await.expect(200);
        let results = results(&answer);
        assert_eq!(results[0].0, 201, "{results:?}");
        assert_eq!((results[2].0, results[2].1.as_str()), (422, "idempotency_key_reused"), "{results:?}");
        assert_eq!(results[3], (200, results[0].1.clone(), true));
    }
}

#[tokio::test]
async fn the_same_request_is_the_same_however_it_is_written() {
    let app = STACK.app().await;
    let first = one(&app, "written", r#"{"kind":"own","payload":{"a":1,"b":["x"]}}"#).await.expect(201).job();
    for same in [
        r#" { "payload" : { "b" : [ "x" ] , "a" : 1 } , "kind" : "own" } "#,
        r#"{"kind":"own","queue":"default","priority":"normal","timeout_s":46,"max_attempts":5,"payload":{"a":1,"b":["x"]}}"#,
    ] {
        assert_eq!(one(&app, "written", same).await.expect(200).job().id, first.id, "{same}");
    }
    for other in [
        r#"{"kind":"own","payload":{"a":1.0,"b":["x"]}}"#,
        r#"{"kind":"own","payload":{"a":1,"b":["\u0078"]}}"#,
        r#"{"kind":"own","payload":{"a":1,"b":["x"]},"timeout_s":47}"#,
    ] {
        assert_eq!(
            one(&app, "written", other).await.expect(422).problem().code,
            "idempotency_key_reused",
            "{other}"
        );
    }
}
