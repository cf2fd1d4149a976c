//! Which traces are recorded, and that the others go through all the same.

use e2e::{App, NewJob, Status};
use reqwest::Method;
use stack::{
    Node,
    traces::{Receiver, Span},
};

use super::{CLIENT, create, new_trace, small, whole};

async fn stored_trace(app: &App) -> String {
    let jobs = app.jobs().await;
    let job = jobs.find_one(bson::doc! {}).sort(bson::doc! { "_id": -1 }).await.unwrap().unwrap();
    job.get_str("trace").unwrap().to_owned()
}

/// All that was recorded is sent when they have stopped.
async fn stop(services: impl IntoIterator<Item = &Node>) {
    for service in services {
        assert!(service.terminate().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_client_that_wants_no_trace_gets_none_and_its_traceparent_goes_through() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver)).await;
    let [unsampled, sampled] = [new_trace(), new_trace()];
    let request = app.request(Method::POST, "/v1/jobs").json(&NewJob::noop());
    let answer = app.send(request.header("traceparent", format!("00-{unsampled}-{CLIENT}-00"))).await;
    let handed_back = answer.header("traceparent").unwrap().to_owned();
    assert!(
        handed_back.starts_with(&format!("00-{unsampled}-")) && handed_back.ends_with("-00"),
        "{handed_back}"
    );
    assert_eq!(stored_trace(&app).await, handed_back);
    assert_eq!(app.ended(&answer.expect(201).job()).await.status, Status::Finished);
    let job = create(&app, &sampled, "01", &NewJob::noop()).await;
    app.ended(&job).await;
    whole(&receiver, &sampled, &["update jobs"]).await;
    stop(app.stack().apis().iter().chain(app.stack().workers())).await;
    assert_eq!(receiver.trace(&unsampled), []);
}

#[tokio::test]
async fn of_those_that_nobody_decided_about_the_sampler_takes_its_part() {
    let receiver = Receiver::start().unwrap();
    let builder = small(&receiver).env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
    let app = App::start(builder.env("OTEL_TRACES_SAMPLER_ARG", "0")).await;
    let job = app.create(&NewJob::noop()).await;
    let stored = stored_trace(&app).await;
    assert!(stored.ends_with("-00"), "{stored}");
    app.ended(&job).await;
    let sampled = new_trace();
    let job = create(&app, &sampled, "01", &NewJob::noop()).await;
    app.ended(&job).await;
    whole(&receiver, &sampled, &["update jobs"]).await;
    stop(app.stack().apis().iter().chain(app.stack().workers())).await;
    // What the client has decided about, and what was done for several of its events together.
    let is_other = |span: &Span| {
        span.trace != sampled
            && (span.links.is_empty() || span.links.iter().any(|(trace, _)| *trace != sampled))
    };
    let others: Vec<Span> = receiver.spans().into_iter().filter(is_other).collect();
    assert_eq!(others, []);
}

#[tokio::test]
async fn whoever_turns_traces_off_sends_none_and_the_traceparent_goes_through() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver).env("OTEL_SDK_DISABLED", true)).await;
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::noop()).await;
    assert!(stored_trace(&app).await.starts_with(&format!("00-{trace}-")));
    app.ended(&job).await;
    stop(app.stack().apis().iter().chain(app.stack().workers())).await;
    assert_eq!(receiver.spans(), []);
}
