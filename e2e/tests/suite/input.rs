//! Bad input gets a clear answer that names what is wrong, and changes nothing.

use bson::doc;
use e2e::{NewJob, Shared};
use reqwest::Method;
use serde_json::{Value, json};
use stack::Stack;

static STACK: Shared = Shared::new(|| Stack::builder().api(1).workers(0));

#[tokio::test]
async fn every_field_is_checked_and_the_wrong_one_named() {
    let app = STACK.app().await;
    let long = "x".repeat(65);
    let large = "x".repeat(257);
    let noop = NewJob::noop;
    let cases = [
        (NewJob::of_kind(""), "kind"),
        (NewJob::of_kind("No Op"), "kind"),
        (NewJob::of_kind(&long), "kind"),
        (noop().with("kind", 7), "kind"),
        (noop().with("kind", Value::Null), "kind"),
        (noop().payload(json!([])), "payload"),
        (noop().payload(json!("text")), "payload"),
        (noop().payload(Value::Null), "payload"),
        (noop().payload(deep(65)), "payload"),
        (noop().payload(json!({ "a": "x".repeat(513 * 1024) })), "payload"),
        (noop().queue(""), "queue"),
        (noop().queue("a.b"), "queue"),
        (noop().queue("a*"), "queue"),
        (noop().queue(&long), "queue"),
        (noop().with("queue", 1), "queue"),
        (noop().priority("urgent"), "priority"),
        (noop().with("priority", 1), "priority"),
        (noop().object(""), "object_id"),
        (noop().object(&large), "object_id"),
        (noop().with("object_id", json!({ "a": 1 })), "object_id"),
        (noop().with("timeout_s", 0), "timeout_s"),
        (noop().with("timeout_s", 86_401), "timeout_s"),
        (noop().with("timeout_s", -1), "timeout_s"),
        (noop().with("timeout_s", 1.5), "timeout_s"),
        (noop().with("timeout_s", "46"), "timeout_s"),
        (noop().with("timeout_s", u64::MAX), "timeout_s"),
        (noop().with("max_attempts", 0), "max_attempts"),
        (noop().with("max_attempts", 101), "max_attempts"),
        (noop().with("max_attempts", "5"), "max_attempts"),
        (noop().with("retries", 3), "retries"),
        (NewJob::of_kind("sleep").payload(json!({ "min_s": "1" })), "payload.min_s"),
        (NewJob::of_kind("sleep").payload(json!({ "min_s": 2, "max_s": 1 })), "payload.max_s"),
        (NewJob::of_kind("sleep").payload(json!({ "seconds": 1 })), "payload.seconds"),
        (NewJob::of_kind("shuffle"), "payload.text"),
        (NewJob::of_kind("shuffle").payload(json!({ "text": "a", "pause_s": -1 })), "payload.pause_s"),
    ];
    for (wish, field) in cases {
        let problem = app.try_create(&wish).await.expect(422).problem();
        assert_eq!((problem.code.as_str(), problem.fields()), ("invalid_field", vec![field]), "{problem:?}");
        assert!(!problem.errors[0].message.is_empty());
    }
    assert_eq!(app.stored_jobs(doc! { "kind": { "$ne": "own" } }).await, 0, "something was stored");
}

#[tokio::test]
async fn all_that_is_wrong_is_named_at_once() {
    let app = STACK.app().await;
    let body = json!({ "queue": "", "priority": "x", "timeout_s": 0, "max_attempts": 0, "object_id": "", "shoe": 1 });
    let mut fields: Vec<_> =
        Vec::from(["kind", "queue", "priority", "timeout_s", "max_attempts", "object_id", "shoe"]);
    let problem = app.post("/v1/jobs", &body).await.expect(422).problem();
    let mut named = problem.fields();
    fields.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, fields);
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken() {
    let app = STACK.app().await;
    let own = || NewJob::of_kind("own");
    let (longest, largest) = (format!("a-{}_9", "x".repeat(60)), "ü".repeat(128));
    for wish in [
        own().timeout_s(1).max_attempts(1),
        own().timeout_s(86_400).max_attempts(100),
        own().queue(&longest),
        own().object(&largest),
        own().payload(deep(64)),
        own().payload(json!({ "a": "x".repeat(512 * 1024 - 8) })),
    ] {
        app.create(&wish).await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_malformed() {
    let app = STACK.app().await;
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"kind\":\"noop\"} x",
        b"\xff\xfe",
        b"{\"a\":1,\"a\":2}",
        b"{'kind':1}",
    ];
    for body in bodies {
        let request = app.request(Method::POST, "/v1/jobs").header("content-type", "application/json");
        let answer = app.send(request.body(body.to_vec())).await.expect(400);
        assert_eq!(answer.problem().code, "malformed_body", "{:?}", String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let app = STACK.app().await;
    let send = async |content_type: Option<&str>| {
        let request = app.request(Method::POST, "/v1/jobs").body(r#"{"kind":"own"}"#);
        let request =
            content_type.into_iter().fold(request, |request, it| request.header("content-type", it));
        app.send(request).await
    };
    for wrong in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json"), Some("")]
    {
        assert_eq!(send(wrong).await.expect(415).problem().code, "unsupported_media_type", "{wrong:?}");
    }
    for right in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
        send(Some(right)).await.expect(201);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let app = STACK.app().await;
    // The service's own limit, and nginx's.
    for (path, bytes) in [("/v1/jobs", (1 << 20) + 1), ("/v1/jobs", 17 << 20), ("/", (64 << 10) + 1)] {
        let request = app.request(Method::POST, path).header("content-type", "application/json");
        let answer = app.send(request.body(" ".repeat(bytes))).await.expect(413);
        assert_eq!(answer.problem().code, "body_too_large", "{path} {bytes}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let app = STACK.app().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/jobs/",
        "/v1%2Fjobs",
        "/%76%31",
        "/V1",
        "/v2/jobs",
        "/v1/jobs/a/b",
        "//",
        "/a/b",
        "/health",
        "/health/",
        "/health/well",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            let answer = app.send(app.request(method.clone(), path)).await.expect(404);
            assert_eq!(answer.problem().code, "path_not_found", "{method} {path}");
        }
    }
    for (path, allow, wrong) in [
        ("/v1/jobs", "GET, HEAD, OPTIONS, POST", vec![Method::PUT, Method::PATCH, Method::DELETE]),
        (
            "/v1/jobs/0191d9ab-7d2a-7b3c-8d4e-5f60718293a4",
            "DELETE, GET, HEAD, OPTIONS, PATCH",
            vec![Method::POST, Method::PUT],
        ),
        ("/health/ready", "GET, HEAD, OPTIONS", vec![Method::POST]),
        ("/", "OPTIONS, POST", vec![Method::GET, Method::PUT]),
        ("/0191d9ab-7d2a-7b3c-8d4e-5f60718293a4", "GET, HEAD, OPTIONS", vec![Method::POST, Method::DELETE]),
    ] {
        for method in wrong {
            let answer = app.send(app.request(method.clone(), path)).await.expect(405);
            assert_eq!(answer.problem().code, "method_not_allowed", "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::of_kind("own")).await;
    for (query, field) in [
        ("wait_s=61", "wait_s"),
        ("wait_s=-1", "wait_s"),
        ("wait_s=x", "wait_s"),
        ("wait_s", "wait_s"),
        ("page=2", "page"),
    ] {
        let problem = app.get(&format!("/v1/jobs/{}?{query}", job.id)).await.expect(400).problem();
        assert_eq!((problem.code.as_str(), problem.fields()), ("invalid_parameter", vec![field]), "{query}");
    }
}

#[tokio::test]
async fn what_a_route_does_not_know_is_refused_and_not_passed_over() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::of_kind("own")).await;
    let path = |end: &str| format!("/v1/jobs/{}{end}", job.id);
    for (method, path, wrong) in [
        (Method::POST, "/v1/jobs?dry_run=1".to_owned(), vec!["dry_run"]),
        // All that is wrong is named, wherever it is.
        (Method::POST, "/v1/jobs/batch?dry_run=1".to_owned(), vec!["dry_run", "jobs", "kind"]),
        (Method::POST, path("/cancel?dry_run=1"), vec!["dry_run", "kind"]),
        (Method::POST, path("/retry?dry_run=1"), vec!["dry_run", "kind"]),
        (Method::GET, path("/attempts?dry_run=1"), vec!["dry_run"]),
        (Method::DELETE, path("?dry_run=1"), vec!["dry_run"]),
    ] {
        let request = app.request(method, &path).json(&NewJob::of_kind("own"));
        let problem = app.send(request).await.expect(400).problem();
        assert_eq!((problem.code.as_str(), problem.fields()), ("invalid_parameter", wrong), "{path}");
    }
    for path in [path("/retry"), "/v1/jobs/retry".to_owned()] {
        let problem = app.post(&path, &json!({ "max_attempts": 1 })).await.expect(422).problem();
        assert_eq!(
            (problem.code.as_str(), problem.fields()),
            ("invalid_field", vec!["max_attempts"]),
            "{path}"
        );
    }
    app.post("/v1/jobs/retry?queue=nobody", &json!({})).await.expect(200);
    assert_eq!(app.job(&job).await, job);
}

/// An object that is nested so deep.
fn deep(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
}

#[test]
fn deep_is_as_deep_as_it_says() {
    assert_eq!(deep(1), json!({}));
    assert_eq!(deep(3), json!({ "a": { "a": {} } }));
}
