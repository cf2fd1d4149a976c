//! nginx hands bodies on as they come and keeps none. That must not keep a request from another replica where nothing of
//! it was sent yet, nor an answer from a client that is still sending.

use e2e::{App, NewJob};
use reqwest::Method;
use serde_json::json;
use stack::Stack;

#[tokio::test]
async fn a_large_body_goes_to_another_replica_where_one_is_gone() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let large = NewJob::noop().payload(json!({ "text": "x".repeat(500 << 10) }));
    app.stack().api(0).kill().await.unwrap();
    for _ in 0..20 {
        app.create(&large).await;
    }
    app.stack().api(1).kill().await.unwrap();
    for _ in 0..5 {
        let answer = app.try_create(&large).await;
        assert!([502, 503].contains(&answer.status), "{answer:?}");
        assert!(answer.retry_after_s() > 0 && !answer.problem().code.is_empty());
    }
    app.stack().api(0).start().await.unwrap();
    app.ended(&app.create(&large).await).await;
}

#[tokio::test]
async fn a_body_that_is_refused_gets_its_answer_while_it_is_still_being_sent() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    for (path, content_type, length, status) in [
        ("/v1/jobs", "text/plain", 8 << 20, 415),
        ("/v1/jobs", "application/json", 8 << 20, 413),
        ("/v1/jobs", "application/json", (1 << 20) - 1, 400),
        ("/v1/nowhere/at/all", "application/json", 8 << 20, 404),
        ("/health/live", "application/json", 8 << 20, 405),
    ] {
        for _ in 0..5 {
            let request = app.request(Method::POST, path).header("content-type", content_type);
            app.send(request.body("x".repeat(length))).await.expect(status);
        }
    }
}
