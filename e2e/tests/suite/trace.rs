//! One request, one id, one trace: from the client through both services and back.

use std::time::Duration;

use e2e::{App, NewJob};
use reqwest::Method;
use serde_json::Value;
use stack::{Node, Stack, poll};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_job_can_be_followed_by_its_trace_and_a_request_by_its_id() {
    let app = App::start(Stack::builder().api(1).workers(1).env("LOG", "debug")).await;
    let request = app.request(Method::POST, "/v1/jobs").json(&NewJob::sleep(0.1).object("traced"));
    let request = request.header("traceparent", TRACEPARENT).header("x-request-id", "my-request.1");
    let answer = app.send(request).await.expect(201);

    assert_eq!(answer.header("x-request-id"), Some("my-request.1"));
    let handed_back = answer.header("traceparent").unwrap();
    assert!(handed_back.starts_with(&format!("00-{TRACE_ID}-")), "{handed_back}");
    let job = answer.job();
    app.ended(&job).await;

    let api = app.stack().api(0);
    let request = line(api, "request served", "trace_id", TRACE_ID).await;
    assert_eq!(
        (request["request.id"].as_str(), request["status"].as_u64()),
        (Some("my-request.1"), Some(201))
    );
    assert_eq!((request["method"].as_str(), request["path"].as_str()), (Some("POST"), Some("/v1/jobs")));
    let created = line(api, "job created", "trace_id", TRACE_ID).await;
    let worker = app.stack().worker(0);
    let starts = line(worker, "attempt starts", "trace_id", TRACE_ID).await;
    let finished = line(worker, "run finished", "trace_id", TRACE_ID).await;
    for line in [&created, &starts, &finished] {
        assert_eq!(line["job.id"].as_str(), Some(job.id.as_str()), "{line}");
    }
    assert_eq!((starts["run.attempt"].as_u64(), finished["run.attempt"].as_u64()), (Some(1), Some(1)));
}

#[tokio::test]
async fn who_brings_no_id_or_a_bad_one_gets_a_new_one() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    let mut ids = Vec::new();
    for (id, trace) in [(None, None), (Some("two words"), Some("00-nonsense-01")), (Some("{}"), Some(""))] {
        for client in [app.replica(0), Clone::clone(&*app)] {
            let mut request = client.request(Method::GET, "/health/live");
            for (header, value) in [("x-request-id", id), ("traceparent", trace)] {
                request = value.into_iter().fold(request, |request, value| request.header(header, value));
            }
            let answer = client.send(request).await.expect(200);
            let new = answer.header("x-request-id").expect("every answer has one").to_owned();
            assert!(new.len() >= 32 || Some(new.as_str()) == id, "{new}");
            ids.push(new);
            let trace = answer.header("traceparent").expect("every answer has one");
            assert_eq!((trace.len(), &trace[..3]), (55, "00-"), "{trace}");
        }
    }
}

/// The JSON of the line with this message that has this value in this field.
async fn line(node: &Node, message: &str, field: &str, value: &str) -> Value {
    let what = format!("{} to log `{message}` with {field} {value}", node.name());
    let look = || async {
        // The file, since the lines in memory are few for a log of everything.
        let log = std::fs::read_to_string(node.log().path()).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["message"] == message && line[field] == value)
    };
    poll::until(&what, Duration::from_secs(60), look).await.unwrap()
}
