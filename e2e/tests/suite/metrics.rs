//! Metrics: what a scrape shows agrees with what was done, whoever scrapes.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{App, NewJob, Status};
use prometheus_parse::{Sample, Scrape, Value};
use stack::{Node, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

fn parse(text: &str) -> Scrape {
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
}

async fn text(of: &Node) -> String {
    let url = of.metrics_url().expect("the stack was started with metrics");
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

/// The sum of a metric over replicas, of those series that have these labels.
async fn sum(replicas: &[Node], name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut sum = 0.0;
    for replica in replicas {
        let scrape = parse(&text(replica).await);
        sum += total(&scrape.samples, name, labels);
    }
    sum
}

fn total(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.metric == name && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(*value))
    };
    samples.iter().filter(fits).map(value).sum()
}

/// A number, or how many values a histogram has.
fn value(sample: &Sample) -> f64 {
    match &sample.value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
        Value::Histogram(buckets) => buckets.last().map_or(0.0, |bucket| bucket.count),
        Value::Summary(_) => panic!("there is no summary: {sample:?}"),
    }
}

#[tokio::test]
async fn what_was_done_is_what_is_counted_over_all_replicas() {
    let builder = Stack::builder().api(2).workers(2).metrics(true).env("WORKER_FAULTS", true);
    let app = App::start(builder.env("RETRY_BASE_S", 0.05)).await;
    let (noop, fails) = (app.create_many(&NewJob::noop(), 60).await, NewJob::fault(&["retry", "fail"]));
    let fails = app.create_many(&fails, 10).await;
    // Jobs come one by one too, with a key: the second time is no job.
    for _ in 0..2 {
        let again = app.request(reqwest::Method::POST, "/v1/jobs").header("idempotency-key", "the-key");
        app.send(again.json(&serde_json::json!({ "kind": "noop" }))).await;
    }
    for job in app.all_ended(&noop).await {
        assert_eq!(job.status, Status::Finished);
    }
    for job in app.all_ended(&fails).await {
        assert_eq!((job.status, job.attempt), (Status::Failed, 2), "{job:?}");
    }

    let (apis, workers) = (app.stack().apis(), app.stack().workers());
    let created = |kind| async move { sum(apis, "hasty_jobs_created_total", &[("kind", kind)]).await };
    assert_eq!((created("noop").await, created("fault").await), (61.0, 10.0));
    let counted = || async {
        let ended = |kind, outcome| async move {
            let labels = [("kind", kind), ("queue", "default"), ("outcome", outcome)];
            let jobs = sum(workers, "hasty_jobs_ended_total", &labels).await;
            (jobs, sum(workers, "hasty_attempts_ended_total", &labels).await)
        };
        let seen = (
            ended("noop", "finished").await,
            ended("fault", "failed").await,
            ended("fault", "retry").await,
            sum(workers, "hasty_attempts_started_total", &[]).await,
            sum(workers, "hasty_attempt_seconds", &[]).await,
            sum(workers, "hasty_job_wait_seconds", &[("queue", "default")]).await,
            sum(workers, "hasty_slots_used", &[]).await,
        );
        let expected = ((61.0, 61.0), (10.0, 10.0), (0.0, 10.0), 81.0, 81.0, 71.0, 0.0);
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    };
    // The last job's end is known a moment before its worker has counted it.
    poll::until("all to be counted", SOON, counted).await.unwrap();
    let applied = || async {
        let ends = sum(apis, "hasty_event_lag_seconds", &[]).await;
        if ends >= 71.0 { Ok(()) } else { Err(format!("{ends}")) }
    };
    poll::until("all ends to be applied", SOON, applied).await.unwrap();
    // One by its own route, the rest by a batch's.
    let route = [("method", "POST"), ("route", "/v1/jobs"), ("status", "201")];
    assert!(sum(apis, "hasty_http_requests_total", &route).await >= 1.0);
    for (name, labels) in [
        ("hasty_broker_connected", vec![]),
        ("hasty_database_operation_seconds", vec![("operation", "insert")]),
        ("hasty_database_connections_total", vec![("event", "created")]),
        ("hasty_group_members", vec![]),
        ("process_resident_memory_bytes", vec![]),
        ("process_open_fds", vec![]),
        ("hasty_runtime_tasks", vec![]),
    ] {
        for replicas in [apis, workers] {
            assert!(sum(replicas, name, &labels).await >= 2.0, "{name}");
        }
    }
    every_name_is_documented(&app).await;
}

/// And has a type and a help text.
async fn every_name_is_documented(app: &App) {
    let document = include_str!("../../../docs/metrics.md");
    for replica in app.stack().apis().iter().chain(app.stack().workers()) {
        let text = text(replica).await;
        let parts = |start| text.lines().filter_map(move |line| line.strip_prefix(start)?.split_once(' '));
        let helps: BTreeSet<&str> = parts("# HELP ").map(|(name, _)| name).collect();
        for (name, kind) in parts("# TYPE ") {
            assert!(helps.contains(name), "{name} has no help text");
            let is_own = document.contains(&format!("| `{name}` | {kind} |"));
            let is_of_process = name.starts_with("process_") && document.contains(&format!("`{name}`"));
            assert!(is_own || is_of_process, "{name}, a {kind}, is not in docs/metrics.md");
        }
    }
}

#[tokio::test]
async fn the_whole_systems_metrics_are_the_same_from_each_replica() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let many = 150;
    for number in 0..many {
        app.create(&NewJob::noop().queue(&format!("nobody-{number:03}"))).await;
    }
    app.all_running(&app.create_many(&NewJob::sleep(3600.0).timeout_s(7200), 3).await).await;
    let seen = || async {
        let mut answers = Vec::new();
        for replica in [app.replica(0), app.replica(1)] {
            let answer = replica.get("/metrics").await.expect(200);
            assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
            let scrape = parse(&answer.body);
            let total = |name, labels| total(&scrape.samples, name, labels);
            let queues: BTreeSet<&str> =
                scrape.samples.iter().filter_map(|sample| sample.labels.get("queue")).collect();
            answers.push((
                total("hasty_queue_jobs", &[("state", "waiting")]),
                total("hasty_queue_jobs", &[("queue", "default"), ("state", "running")]),
                total("hasty_queue_jobs", &[("queue", "other"), ("state", "waiting")]),
                total("hasty_workers", &[("state", "running")]),
                total("hasty_workers_slots_used", &[]),
                total("hasty_queue_workers", &[("queue", "default")]),
                queues.len(),
            ));
        }
        // The first hundred by name are `default` and 99 of the others.
        let expected = (f64::from(many), 3.0, f64::from(many - 99), 1.0, 3.0, 1.0, 101);
        if answers == [expected; 2] { Ok(()) } else { Err(format!("{answers:?}")) }
    };
    poll::until("both replicas to show it", SOON, seen).await.unwrap();
    assert_eq!(app.stack().api(0).metrics_url(), None);
}

#[tokio::test]
async fn queues_that_clients_make_up_do_not_fill_the_memory() {
    let app = App::start(Stack::builder().api(1).workers(1).metrics(true)).await;
    for number in 0..150 {
        app.create(&NewJob::noop().queue(&format!("made-up-{number:03}"))).await;
    }
    let scrape = parse(&text(app.stack().api(0)).await);
    let created: Vec<&Sample> =
        scrape.samples.iter().filter(|sample| sample.metric == "hasty_jobs_created_total").collect();
    assert_eq!(created.len(), 101);
    assert_eq!(total(&scrape.samples, "hasty_jobs_created_total", &[("queue", "other")]), 50.0);
    assert_eq!(total(&scrape.samples, "hasty_jobs_created_total", &[]), 150.0);
}
