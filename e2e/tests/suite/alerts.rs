//! Each alert fires at the fault that it is for, on real processes, and ends with it. Prometheus has the repository's rules, with
//! shorter times.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use e2e::{App, NewJob, Status};
use reqwest::Method;
use serde_json::Value;
use stack::{ALERTS, Stack, Watching, poll};

const SOON: Duration = Duration::from_secs(90);

/// The rules with seconds for minutes.
fn quick() -> String {
    let mut rules: Vec<String> = Vec::new();
    for line in ALERTS.lines() {
        let indent = line.len() - line.trim_start().len();
        rules.push(if line.trim_start().starts_with("for: ") {
            format!("{}for: 1s", " ".repeat(indent))
        } else {
            line.to_owned()
        });
    }
    let mut rules = rules.join("\n");
    for (long, short) in
        [("[5m]", "[10s]"), ("[10m]", "[20s]"), ("> 300", "> 2"), ("> 60", "> 1"), ("> 30", "> 1")]
    {
        assert!(rules.contains(long), "no rule has {long}");
        rules = rules.replace(long, short);
    }
    rules
}

/// The alerts that are firing.
async fn firing(app: &App) -> BTreeSet<String> {
    let prometheus = app.stack().prometheus().expect("the stack is watched").url();
    let answer = reqwest::get(format!("{prometheus}/api/v1/alerts")).await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let alerts = answer["data"]["alerts"].as_array().unwrap().iter();
    let firing = alerts.filter(|alert| alert["state"] == "firing");
    firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
}

async fn fire(app: &App, expected: &[&str]) {
    let all = || async {
        let firing = firing(app).await;
        if expected.iter().all(|alert| firing.contains(*alert)) { Ok(()) } else { Err(format!("{firing:?}")) }
    };
    poll::until(&format!("{expected:?} to fire"), SOON, all).await.unwrap();
}

async fn end(app: &App) {
    let none = || async {
        let firing = firing(app).await;
        if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
    };
    poll::until("all alerts to end", SOON, none).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_fires_at_its_fault_and_ends_with_it() {
    // Connections come into being, and nobody reads.
    let hangs = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let watching = Watching { rules: quick(), every: Duration::from_secs(1) };
    let builder = Stack::builder().api(2).workers(2).watching(watching).env("WORKER_FAULTS", true);
    let builder = builder.env("LEASE_S", 2).env("RELAY_AFTER_S", 0.5).env("LOG", "info,http=debug");
    let app = App::start(builder.api_env(0, "LOG_TCP", hangs.local_addr().unwrap())).await;
    let stack = app.stack();
    app.all_ended(&app.create_many(&NewJob::noop(), 20).await).await;
    end(&app).await;

    let unserved = app.create(&NewJob::noop().queue("nobody")).await;
    fire(&app, &["HastyQueueUnserved", "HastyJobsWaitLong"]).await;
    app.send(app.request(Method::POST, &format!("/v1/jobs/{}/cancel", unserved.id))).await;
    end(&app).await;

    let failed = async {
        loop {
            let jobs = app.create_many(&NewJob::fault(&["fail"]), 5).await;
            for job in app.all_ended(&jobs).await {
                assert_eq!(job.status, Status::Failed);
            }
        }
    };
    tokio::select! {
        () = fire(&app, &["HastyJobsFail"]) => {}
        () = failed => {}
    }
    end(&app).await;

    // A worker dies, and the other takes over.
    let job = app.running(&app.create(&NewJob::hangs_once()).await).await;
    let worker = stack.worker(app.worker_of(&job));
    worker.kill().await.unwrap();
    fire(&app, &["HastyReplicaDown", "HastyLeasesLost"]).await;
    worker.start().await.unwrap();
    end(&app).await;

    // A run ends while NATS is away, and a job is created.
    let ends = app.running(&app.create(&NewJob::sleep(1.0)).await).await;
    stack.nats().kill().await.unwrap();
    let waits = app.create(&NewJob::noop()).await;
    fire(&app, &["HastyBrokerDisconnected", "HastyOutboxOverdue"]).await;
    stack.nats().start().await.unwrap();
    fire(&app, &["HastyStatusLate"]).await;
    for job in app.all_ended(&[ends, waits]).await {
        assert_eq!(job.status, Status::Finished);
    }
    end(&app).await;

    for worker in stack.workers() {
        worker.kill().await.unwrap();
    }
    fire(&app, &["HastyNoWorkers"]).await;
    for worker in stack.workers() {
        worker.start().await.unwrap();
    }
    end(&app).await;

    stack.api_mongo().kill().await.unwrap();
    let refused = async {
        loop {
            app.try_create(&NewJob::noop()).await.expect(503);
        }
    };
    tokio::select! {
        () = fire(&app, &["HastyApiUnreachable", "HastyDatabaseFails", "HastyRequestsFail"]) => {}
        () = refused => {}
    }
    stack.api_mongo().start().await.unwrap();
    end(&app).await;

    let (client, long) = (app.replica(0), format!("/{}", "x".repeat(32 * 1024)));
    let logs = async {
        loop {
            client.send(client.request(Method::GET, &long)).await.expect(404);
        }
    };
    tokio::select! {
        () = fire(&app, &["HastyLogLinesDropped"]) => {}
        () = logs => {}
    }
}

/// The test above has a fault for each.
#[test]
fn each_alert_has_its_fault() {
    let test = include_str!("alerts.rs");
    for alert in ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(test.contains(&format!("\"{alert}\"")), "{alert}");
    }
}
