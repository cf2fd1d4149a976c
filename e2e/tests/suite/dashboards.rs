//! Every query of the dashboards shows something where there is something to show.

use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::{App, NewJob};
use serde_json::Value;
use stack::{ALERTS, Stack, Watching, poll};

const SOON: Duration = Duration::from_secs(60);

/// Each dashboard's file, the panel and the query, as Grafana would send it.
fn queries() -> Vec<(String, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring/dashboards");
    let mut queries = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let dashboard: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "10s");
                queries.push((name.clone(), title.to_owned(), query));
            }
        }
    }
    queries
}

/// Whether it has a value that is a number.
async fn shows(prometheus: &str, query: &str) -> Result<(), String> {
    let address = format!("{prometheus}/api/v1/query");
    let request = reqwest::Client::new().get(address).query(&[("query", query)]);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let results = answer["data"]["result"].as_array().unwrap();
    let is_number = |result: &Value| result["value"][1].as_str().is_some_and(|value| value != "NaN");
    if results.iter().any(is_number) { Ok(()) } else { Err(format!("{query}: {answer}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_shows_something() {
    let watching = Watching { rules: ALERTS.to_owned(), every: Duration::from_secs(1) };
    let builder = Stack::builder().api(2).workers(1).watching(watching).env("WORKER_FAULTS", true);
    let mut app = App::start(builder).await;
    // It is scraped as well.
    app.add_worker().await;
    app.create(&NewJob::noop().queue("nobody")).await;
    app.create(&NewJob::noop().with("delay_s", 3600)).await;
    let load = async {
        loop {
            let mut jobs = app.create_many(&NewJob::noop(), 10).await;
            jobs.extend(app.create_many(&NewJob::fault(&["fail"]), 2).await);
            app.all_ended(&jobs).await;
        }
    };
    let prometheus = app.stack().prometheus().unwrap().url();
    let queries = queries();
    assert!(queries.len() > 40, "{}", queries.len());
    let all = async {
        for (file, panel, query) in &queries {
            let what = format!("{file}, {panel}, to show something");
            poll::until(&what, SOON, || shows(prometheus, query)).await.unwrap();
        }
        let both = "count(up{job=\"job-service\"} == 1) == 2";
        poll::until("both workers to be scraped", SOON, || shows(prometheus, both)).await.unwrap();
    };
    tokio::select! {
        () = all => {}
        () = load => {}
    }
}
