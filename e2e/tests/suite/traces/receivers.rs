//! Whatever the receiver of traces does, jobs go on and processes end in time; what it does not get is counted.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use e2e::{App, NewJob, Status};
use stack::{Builder, Node, Stack, traces::Receiver};

use super::{create, new_trace, small};

/// How many spans were dropped for this reason, by what the process says.
async fn dropped(service: &Node, why: &str) -> f64 {
    let text = reqwest::get(service.metrics_url().unwrap()).await.unwrap().text().await.unwrap();
    let name = format!("hasty_trace_spans_dropped_total{{why=\"{why}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |count| count.parse().unwrap())
}

fn to(endpoint: &str) -> Builder {
    Stack::builder().api(1).workers(1).metrics(true).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
}

/// All jobs finish by their first attempts, as they do without.
async fn jobs_go_on(app: &App) {
    for _ in 0..5 {
        for job in app.all_ended(&app.create_many(&NewJob::noop(), 40).await).await {
            assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
        }
    }
}

/// Not much later than without traces, however much waits.
async fn ends_in_time(service: &Node) {
    let begun = Instant::now();
    assert!(service.terminate().await.unwrap().success());
    let log = std::fs::read_to_string(service.log().path()).unwrap();
    assert!(log.contains("spans were dropped"), "{}", service.log().tail(10));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// It takes connections, and never says anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_slows_no_job_and_no_end() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let hangs = format!("http://{}", listener.local_addr().unwrap());
    let app =
        App::start(to(&hangs).env("OTEL_BSP_MAX_QUEUE_SIZE", 100).env("OTEL_BSP_SCHEDULE_DELAY", 50)).await;
    jobs_go_on(&app).await;
    for service in [app.stack().api(0), app.stack().worker(0)] {
        assert!(dropped(service, "full").await > 100.0);
        ends_in_time(service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_slows_no_job_and_no_end() {
    // Nobody else gets the port while it is bound, and nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = format!("http://{}", socket.local_addr().unwrap());
    let builder = to(&away).env("OTEL_BSP_SCHEDULE_DELAY", 50).env("OTEL_EXPORTER_OTLP_TIMEOUT", 200);
    let app = App::start(builder).await;
    jobs_go_on(&app).await;
    for service in [app.stack().api(0), app.stack().worker(0)] {
        let lost = || async {
            let lost = dropped(service, "failed").await;
            if lost > 0.0 { Ok(()) } else { Err(lost) }
        };
        stack::poll::until("spans to be lost", super::SOON, lost).await.unwrap();
        ends_in_time(service).await;
    }
}

/// What waits is sent at the end; with the headers that are set, which nobody is shown.
#[tokio::test]
async fn what_waits_is_sent_before_a_process_ends() {
    let receiver = Receiver::start().unwrap();
    let builder = small(&receiver).env("OTEL_BSP_SCHEDULE_DELAY", 600_000);
    let app = App::start(builder.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")).await;
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::noop()).await;
    app.ended(&job).await;
    assert_eq!(receiver.trace(&trace), []);
    // The worker first: the api-service is to hear of the end.
    for service in [app.stack().worker(0), app.stack().api(0)] {
        assert!(service.terminate().await.unwrap().success());
        let log = std::fs::read_to_string(service.log().path()).unwrap();
        assert!(!log.contains("hunter2") && !log.contains("spans were dropped"), "{log}");
    }
    let spans = receiver.trace(&trace);
    assert_eq!(super::shape(&spans, super::CLIENT, 0), super::WHOLE);
    assert_eq!(receiver.authorization().as_deref(), Some("Bearer hunter2"));
}
