//! Traces, as a receiver gets them: one for each job, from the client's span to the status, whatever happens on the way.

mod attempts;
mod groups;
mod receivers;
mod sampling;

use std::time::Duration;

use e2e::{App, JobView, NewJob, Status};
use reqwest::Method;
use stack::{
    Builder, Stack, poll,
    traces::{Receiver, Span, tree},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const SOON: Duration = Duration::from_secs(60);

/// The client's span.
const CLIENT: &str = "00f067aa0ba902b7";

/// What a job is in a trace that finishes at once, by one attempt.
const WHOLE: &str = "\
POST /v1/jobs
  insert jobs
  send job:created
    process job:created
      insert runs
    attempt noop
      update runs
      send job:finished
        process job:finished
          update jobs
";

fn small(receiver: &Receiver) -> Builder {
    // Nothing is announced a second time since the machine is busy.
    Stack::builder().api(1).workers(1).env("RELAY_AFTER_S", 300).traces(receiver)
}

/// A trace that no other test has.
fn new_trace() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Creates a job in this trace.
async fn create(app: &App, trace: &str, flags: &str, job: &NewJob) -> JobView {
    let request = app.request(Method::POST, "/v1/jobs").json(job);
    let answer = app.send(request.header("traceparent", format!("00-{trace}-{CLIENT}-{flags}"))).await;
    answer.expect(201).job()
}

/// The trace, once nothing is missing in it: it has `names`, and the parent of every span but the client's.
async fn whole(receiver: &Receiver, trace: &str, names: &[&str]) -> Vec<Span> {
    let look = || async {
        let spans = receiver.trace(trace);
        let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
        let has_all = names.iter().all(|name| count(name) >= names.iter().filter(|one| *one == name).count());
        let is_there = |parent: &String| parent == CLIENT || spans.iter().any(|span| span.id == *parent);
        let has_parents = spans.iter().all(|span| span.parent.as_ref().is_some_and(is_there));
        if has_all && has_parents { Ok(spans) } else { Err(tree(&spans)) }
    };
    poll::until("the whole trace", SOON, look).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The names of the spans beneath this one, each on a line, as they began. An attempt that takes longer than a moment, as on a
/// busy machine, is told of: without that.
fn shape(spans: &[Span], beneath: &str, depth: usize) -> String {
    let is_next = |span: &&Span| span.parent.as_deref() == Some(beneath) && span.name != "send job:started";
    let mut next: Vec<&Span> = spans.iter().filter(is_next).collect();
    next.sort_by_key(|span| span.begun_ns);
    let lines = next.into_iter().map(|span| {
        format!("{:indent$}{}\n{}", "", span.name, shape(spans, &span.id, depth + 1), indent = 2 * depth)
    });
    lines.collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[track_caller]
fn has(span: &Span, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        assert_eq!(span.attribute(name), *value, "{name} of {span:?}");
    }
}

#[tokio::test]
async fn a_job_is_one_trace_from_the_clients_span_to_its_status() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver)).await;
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::noop()).await;
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    let spans = whole(&receiver, &trace, &["update jobs"]).await;
    assert_eq!(shape(&spans, CLIENT, 0), WHOLE, "{}", tree(&spans));

    let worker = app.job(&job).await.worker.unwrap();
    let (api, job_service) = (("api-service", "api-1"), ("job-service", "worker-1"));
    let of_attempt = [("job.id", job.id.as_str()), ("run", "1"), ("run.attempt", "1"), ("worker", &worker)];
    let sent = [("messaging.system", "nats"), ("messaging.operation.type", "send")];
    let processed = [("messaging.system", "nats"), ("messaging.operation.type", "process")];
    let database = |operation, collection| {
        [("db.system.name", "mongodb"), ("db.operation.name", operation), ("db.collection.name", collection)]
    };
    for (name, kind, by, attributes) in [
        (
            "POST /v1/jobs",
            "server",
            api,
            vec![
                ("http.request.method", "POST"),
                ("http.route", "/v1/jobs"),
                ("url.path", "/v1/jobs"),
                ("http.response.status_code", "201"),
            ],
        ),
        ("insert jobs", "client", api, database("insert", "jobs").to_vec()),
        ("send job:created", "producer", api, [&sent[..], &[("job.kind", "noop")]].concat()),
        ("process job:created", "consumer", job_service, processed.to_vec()),
        ("insert runs", "client", job_service, [&database("insert", "runs")[..], &of_attempt].concat()),
        ("attempt noop", "internal", job_service, [&of_attempt[..], &[("outcome", "finished")]].concat()),
        (
            "update runs",
            "client",
            job_service,
            [&database("update", "runs")[..], &of_attempt, &[("run.status", "finished")]].concat(),
        ),
        ("send job:finished", "producer", job_service, [&sent[..], &of_attempt].concat()),
        ("process job:finished", "consumer", api, processed.to_vec()),
        ("update jobs", "client", api, database("update", "jobs").to_vec()),
    ] {
        let [span] = named(&spans, name)[..] else { panic!("not one {name}:\n{}", tree(&spans)) };
        assert_eq!((span.kind, (span.service.as_str(), span.replica.as_str())), (kind, by), "{span:?}");
        assert_eq!((span.error.as_deref(), span.links.len()), (None, 0), "{span:?}");
        assert!(span.begun_ns <= span.ended_ns, "{span:?}");
        has(span, &attributes);
    }
    for (sent, processed, destination) in [
        ("send job:created", "process job:created", "job:created.default.normal"),
        ("send job:finished", "process job:finished", "job:finished.default"),
    ] {
        for name in [sent, processed] {
            has(named(&spans, name)[0], &[("messaging.destination.name", destination)]);
        }
    }
    let id = format!("{}.1:1", job.id);
    for name in ["send job:created", "process job:created"] {
        has(named(&spans, name)[0], &[("messaging.message.id", &id)]);
    }
}

/// Requests that fail are errors; the client's own mistakes are none.
#[tokio::test]
async fn a_request_is_a_span_of_its_own_whatever_it_is_answered() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver)).await;
    let trace = new_trace();
    let traceparent = format!("00-{trace}-{CLIENT}-01");
    let request = app.request(Method::GET, "/v1/jobs/nonsense").header("traceparent", &traceparent);
    let answer = app.send(request).await.expect(404);
    let spans = whole(&receiver, &trace, &["GET /v1/jobs/{id}"]).await;
    has(&spans[0], &[("http.response.status_code", "404"), ("url.path", "/v1/jobs/nonsense")]);
    assert_eq!((spans.len(), spans[0].error.as_deref()), (1, None));
    // Whoever gets the answer can find it.
    assert_eq!(answer.header("traceparent"), Some(format!("00-{trace}-{}-01", spans[0].id).as_str()));

    app.stack().api_mongo().kill().await.unwrap();
    let request = app.request(Method::GET, "/v1/jobs").header("traceparent", &traceparent);
    app.send(request).await.expect(503);
    let spans = whole(&receiver, &trace, &["GET /v1/jobs"]).await;
    let failed = named(&spans, "GET /v1/jobs")[0];
    has(failed, &[("http.response.status_code", "503"), ("error.type", "503")]);
    assert_eq!(failed.error.as_deref(), Some("503"));
}

/// What is done long after its request is in its trace all the same; and what no request asked for is in one of its own.
#[tokio::test]
async fn delayed_jobs_stay_in_their_trace_and_firings_have_one() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver)).await;
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::noop().with("delay_s", 1)).await;
    app.ended(&job).await;
    let spans = whole(&receiver, &trace, &["update jobs"]).await;
    assert_eq!(shape(&spans, CLIENT, 0), WHOLE, "{}", tree(&spans));

    let soon = (OffsetDateTime::now_utc() + SOON / 60).format(&Rfc3339).unwrap();
    let schedule = serde_json::json!({ "at": soon, "template": { "kind": "noop" } });
    let request = app.request(Method::PUT, "/v1/schedules/once").header("if-none-match", "*");
    app.send(request.json(&schedule)).await.expect(201);
    let look = || async {
        let spans = receiver.spans();
        let root = spans.iter().find(|span| span.name == "fire schedule").cloned().ok_or("no firing")?;
        let spans = receiver.trace(&root.trace);
        let fired = shape(&spans, &root.id, 0);
        let expected: Vec<&str> = WHOLE.lines().skip(1).map(|line| &line[2..]).collect();
        let is_whole = root.parent.is_none() && fired.lines().eq(expected);
        if is_whole { Ok(root) } else { Err(tree(&spans)) }
    };
    let root =
        poll::until("the trace of a firing", SOON, look).await.unwrap_or_else(|error| panic!("{error}"));
    has(&root, &[("schedule.id", "once"), ("job.kind", "noop")]);
}
