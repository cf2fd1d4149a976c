//! What all routes have in common, and what the API says about itself.

use e2e::{NewJob, Shared, Status};
use reqwest::Method;
use serde_json::{Value, json};
use stack::Stack;

static STACK: Shared = Shared::new(|| Stack::builder().api(1).workers(1));

#[tokio::test]
async fn a_state_that_the_client_has_is_not_sent_again() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::noop().queue("nobody")).await;
    let path = format!("/v1/jobs/{}", job.id);
    let first = app.get(&path).await.expect(200);
    let tag = first.header("etag").unwrap().to_owned();
    for given in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again =
            app.send(app.request(Method::GET, &path).header("if-none-match", &given)).await.expect(304);
        assert_eq!((again.header("etag"), again.body.as_str()), (Some(tag.as_str()), ""), "{given}");
    }
    app.post(&format!("{path}/cancel"), &json!({})).await;
    app.ended(&job).await;
    let changed = app.send(app.request(Method::GET, &path).header("if-none-match", &tag)).await.expect(200);
    assert_eq!(changed.job().status, Status::Cancelled);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn all_that_is_wrong_with_a_request_is_one_answer() {
    let app = STACK.app().await;
    let asked =
        app.request(Method::POST, "/v1/jobs?wait_s=61&shoe=1").header("idempotency-key", "x".repeat(257));
    let body = json!({ "kind": "sleep", "payload": { "min_s": -1 }, "queue": "", "hat": 1 });
    let problem = app.send(asked.json(&body)).await.expect(400).json();
    assert_eq!(problem["type"], "/problems/invalid-parameter");
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    let errors = problem["errors"].as_array().unwrap().iter();
    let errors: Vec<[String; 3]> =
        errors.map(|error| ["in", "field", "code"].map(|name| text(error, name))).collect();
    let expected = [
        ["query", "wait_s", "out_of_range"],
        ["query", "shoe", "unknown"],
        ["header", "Idempotency-Key", "wrong_format"],
        ["body", "queue", "wrong_format"],
        ["body", "payload.min_s", "wrong_format"],
        ["body", "hat", "unknown"],
    ];
    assert_eq!(errors, expected);

    // An id that is none is no job's, whatever else is wrong.
    let answer = app.post("/v1/jobs/nonsense/cancel?shoe=1", &json!({ "reason": 7 })).await;
    let problem = answer.expect(404).problem();
    assert_eq!((problem.code.as_str(), problem.fields()), ("job_not_found", vec!["id", "shoe", "reason"]));
}

#[tokio::test]
async fn an_answer_waits_as_long_as_the_client_prefers() {
    let app = STACK.app().await;
    let create = || app.request(Method::POST, "/v1/jobs").json(&NewJob::noop());
    let ended = app.send(create().header("prefer", "respond-async, wait=60")).await.expect(201);
    assert_eq!(ended.header("preference-applied"), Some("wait=60"));
    assert_eq!(ended.header("location"), Some(format!("/v1/jobs/{}", ended.job().id).as_str()));
    assert_eq!(ended.job().status, Status::Finished);

    let ended =
        app.send(app.request(Method::POST, "/v1/jobs?wait_s=60").json(&NewJob::noop())).await.expect(201);
    assert_eq!((ended.header("preference-applied"), ended.job().status), (None, Status::Finished));

    // Nobody serves it: how far it is.
    let waiting = app.request(Method::POST, "/v1/jobs?wait_s=0").json(&NewJob::noop().queue("nobody"));
    assert_eq!(app.send(waiting).await.expect(201).job().status, Status::Queued);

    let path = format!("/v1/jobs/{}", ended.job().id);
    let read = app.send(app.request(Method::GET, &path).header("prefer", "wait=1")).await.expect(200);
    assert_eq!(read.header("preference-applied"), Some("wait=1"));
    // Several headers are one list; an nginx before 1.23 hands on the first alone.
    let replica = app.replica(0);
    let several =
        replica.request(Method::GET, &path).header("prefer", "respond-async").header("prefer", "wait=2");
    let read = replica.send(several).await.expect(200);
    assert_eq!(read.header("preference-applied"), Some("wait=2"));
    let read = app.send(app.request(Method::GET, &path).header("prefer", "wait=soon")).await.expect(200);
    assert_eq!(read.header("preference-applied"), None);
}

#[tokio::test]
async fn kinds_are_listed_with_the_schema_that_jobs_are_checked_by() {
    let app = STACK.app().await;
    let kinds = app.get("/v1/kinds").await.expect(200).json();
    let kinds = kinds["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["command", "container", "http", "noop", "shuffle", "sleep"]);
    for kind in kinds {
        let job = json!({ "kind": kind["kind"], "payload": kind["example"] });
        app.post("/v1/jobs", &job).await.expect(201);
    }
    let sleep = kinds.iter().find(|kind| kind["kind"] == "sleep").unwrap();
    let too_long = &sleep["payload_schema"]["properties"]["max_s"]["maximum"];
    let job = json!({ "kind": "sleep", "payload": { "max_s": too_long.as_f64().unwrap() + 1.0, "naps": 1 } });
    let problem = app.post("/v1/jobs", &job).await.expect(422).problem();
    let mut fields = problem.fields();
    fields.sort_unstable();
    assert_eq!(fields, ["payload.max_s", "payload.naps"]);
}

#[tokio::test]
async fn older_routes_say_that_there_are_newer_ones() {
    let app = STACK.app().await;
    for answer in [app.old_create("edge").await, app.old_job("0191d9ab-7d2a-7b3c-8d4e-5f60718293a4").await] {
        // RFC 9745: a date in seconds.
        assert!(answer.header("deprecation").is_some_and(|since| since.starts_with("@17")), "{answer:?}");
        assert_eq!(answer.header("link"), Some("</v1/jobs>; rel=\"successor-version\""));
    }
    assert_eq!(app.get("/v1/jobs").await.header("deprecation"), None);
}

#[tokio::test]
async fn an_answer_is_in_a_content_type_that_the_client_accepts() {
    let app = STACK.app().await;
    for (path, accept, status) in [
        ("/v1/jobs", "application/json", 200),
        ("/v1/jobs", "text/html, application/*;q=0.5", 200),
        ("/v1/jobs", "*/*;q=0.1", 200),
        ("/v1/jobs", "text/html", 406),
        ("/v1/jobs", "application/json;q=0", 406),
        ("/v1/jobs", "application/json;q=0, */*", 406),
        ("/v1/jobs", "*/*;q=0, application/json", 200),
        ("/problems/invalid-field", "text/html", 200),
        ("/problems/invalid-field", "application/json", 406),
    ] {
        let answer = app.send(app.request(Method::GET, path).header("accept", accept)).await;
        assert_eq!(answer.status, status, "{path} {accept}: {}", answer.body);
    }
}

#[tokio::test]
async fn every_type_of_problem_has_its_page() {
    let app = STACK.app().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    let examples = document["components"]["examples"].as_object().unwrap();
    assert!(examples.len() > 20, "{}", examples.len());
    for (code, example) in examples {
        let page = app.get(example["value"]["type"].as_str().unwrap()).await.expect(200);
        assert!(page.body.contains(code), "{}", page.body);
    }
    let problem = app.get("/problems/no-such-page").await.expect(404).problem();
    assert_eq!(problem.code, "path_not_found");
}

#[tokio::test]
async fn the_service_shows_its_document_without_another_host() {
    let app = STACK.app().await;
    let served = app.get("/openapi.json").await.expect(200).json();
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json")).unwrap();
    assert_eq!(served, serde_json::from_slice::<Value>(&file).unwrap());

    let page = app.get("/swagger").await.expect(200);
    assert!(!page.body.contains("//"), "{}", page.body.lines().find(|line| line.contains("//")).unwrap());
    for asset in page.body.split('"').filter(|part| part.starts_with("./")) {
        app.get(&format!("/swagger/{}", asset.trim_start_matches("./"))).await.expect(200);
    }
    for before in ["/api/v1", "/api/v1/"] {
        assert_eq!(app.get(before).await.expect(200).body, page.body, "{before}");
    }
    let start = app.get("/swagger/swagger-initializer.js").await.expect(200);
    assert!(start.body.contains("/openapi.json"), "{}", start.body);
}
