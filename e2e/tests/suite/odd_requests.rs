//! Requests that hardly are any get an answer of ours too.

use e2e::{Answer, NewJob, Shared, raw};
use reqwest::Method;
use serde_json::json;
use stack::Stack;

static STACK: Shared = Shared::new(|| Stack::builder().api(1).workers(0));

#[tokio::test]
async fn what_is_no_uri_is_told_so() {
    let app = STACK.app().await;
    let targets = [
        "/%",
        "/%zz",
        "/%00",
        "/v1/jobs/%",
        "/<",
        "/v1/jobs?a=\"",
        "/v1/`",
        "/\u{fc}",
        "/../..",
        "*",
        "a:80",
    ];
    for target in targets {
        for method in ["GET", "POST"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: hasty\r\nConnection: close\r\n\r\n");
            let answer = raw::ask(app.stack().url(), &request).await;
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json"),
                "{target}: {answer:?}"
            );
            let problem = answer.json().expect("JSON");
            assert_eq!(
                (answer.status, &problem["status"], &problem["code"]),
                (400, &json!(400), &json!("bad_request"))
            );
        }
    }
    // Encoded they are paths like others.
    let answer = app.get("/v1/jobs/%ff").await.expect(404);
    assert_eq!(answer.problem().code, "job_not_found");
}

#[tokio::test]
async fn a_request_of_http_1_0_needs_no_host() {
    let app = STACK.app().await;
    assert_eq!(raw::ask(app.stack().url(), "GET /v1/jobs HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn strange_requests_get_an_answer_that_is_no_500() {
    let app = STACK.app().await;
    for path in [
        "/%FF",
        "/v1/jobs/%00",
        "/v1/jobs/%2e%2e",
        "/v1/jobs/..%2f",
        "/%",
        "/v1/jobs/%C3%BC?wait_s=%31",
        "/v1/jobs?x",
        "/?%",
    ] {
        for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT] {
            is_told(&app.send(app.request(method, path)).await);
        }
    }
    for (header, value) in [
        ("x-request-id", "x".repeat(4000)),
        ("accept", "nonsense".into()),
        ("expect", "the unexpected".into()),
        ("content-encoding", "gzip".into()),
        ("if-match", "*".into()),
        ("range", "bytes=0-1".into()),
        ("cookie", "x".repeat(20_000)),
    ] {
        let request =
            app.request(Method::POST, "/v1/jobs").json(&NewJob::of_kind("own")).header(header, value);
        is_told(&app.send(request).await);
    }
}

/// It is an answer of ours: no 5xx, and problem details wherever it is an error of the new API.
fn is_told(answer: &Answer) {
    assert!(answer.status < 500, "{answer:?}");
    let old = answer.body.starts_with(r#"{"message":"#);
    if answer.status >= 400 && !old && !answer.body.is_empty() {
        let _ = answer.problem();
    }
}
