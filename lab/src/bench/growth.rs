//! What grows with the number of jobs that run or wait, what a replica costs that does nothing, and how soon one
//! is ready.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use bson::{Document, doc};
use mongodb::Client;
use serde::Serialize;
use serde_json::json;
use stack::{Builder, Stack, poll};

use super::load;
use super::run::rss_mib;
use super::submit::Request;
use super::usage::Snapshot;

const RUNNING: usize = 10_000;
const WAITING: usize = 100_000;
const SLEEP_S: u32 = 40;
const SETTLE_TIME: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);

/// By part.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Growth {
    pub(super) stack_start_ms: f64,
    pub(super) api_start_ms: f64,
    pub(super) worker_start_ms: f64,
    pub(super) idle_cpu_percent: BTreeMap<String, f64>,
    pub(super) idle_mib: BTreeMap<String, f64>,
    pub(super) running_mib: BTreeMap<String, f64>,
    pub(super) waiting_mib: BTreeMap<String, f64>,
    pub(super) running: usize,
    pub(super) waiting: usize,
}

/// Measures all on a stack of its own.
pub(super) async fn measure(builder: Builder, workers: usize, connections: usize) -> Result<Growth> {
    let begun = Instant::now();
    let slots = RUNNING.div_ceil(workers.max(1));
    let stack = builder.env("WORKER_CONCURRENCY", slots).start().await?;
    let stack_start_ms = millis(begun);
    let address = super::address_of(&stack)?;

    let mut starts = Vec::new();
    for node in [stack.api(0), stack.worker(0)] {
        node.terminate().await?;
        let begun = Instant::now();
        node.start().await?;
        starts.push(millis(begun));
    }

    tokio::time::sleep(SETTLE_TIME).await;
    let before = Snapshot::of(&stack)?;
    tokio::time::sleep(IDLE).await;
    let idle = Snapshot::of(&stack)?;
    let percent = |cpu: Duration| cpu.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let idle_cpu_percent =
        idle.cpu_since(&before).into_iter().map(|(name, cpu)| (name, percent(cpu))).collect();

    let sleep = json!({
        "kind": "sleep",
        "payload": { "min_s": SLEEP_S, "max_s": SLEEP_S },
        "timeout_s": 2 * SLEEP_S,
    });
    create(address, connections, &sleep, RUNNING).await?;
    until(&stack, "all jobs to run", doc! { "status": "running" }, RUNNING).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let running = Snapshot::of(&stack)?;
    until(&stack, "all jobs to end", doc! { "status": "finished" }, RUNNING).await?;

    let waits = json!({ "kind": "noop", "queue": "served-by-nobody" });
    create(address, connections, &waits, WAITING).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let waiting = Snapshot::of(&stack)?;
    stack.stop().await?;
    Ok(Growth {
        stack_start_ms,
        api_start_ms: starts[0],
        worker_start_ms: starts[1],
        idle_cpu_percent,
        idle_mib: rss_mib(&idle),
        running_mib: rss_mib(&running),
        waiting_mib: rss_mib(&waiting),
        running: RUNNING,
        waiting: WAITING,
    })
}

async fn create(address: SocketAddr, connections: usize, job: &serde_json::Value, jobs: usize) -> Result<()> {
    load::all_at_once(address, connections, vec![Request::single(address, job); jobs]).await.map(drop)
}

async fn until(stack: &Stack, what: &str, filter: Document, jobs: usize) -> Result<()> {
    let client = Client::with_uri_str(stack.api_mongo().url()).await?;
    let collection = client.database("hasty_api").collection::<Document>("jobs");
    let timeout = Duration::from_secs(2 * u64::from(SLEEP_S));
    poll::until(what, timeout, || async {
        let counted = collection.count_documents(filter.clone()).await.map_err(|error| error.to_string())?;
        if usize::try_from(counted) == Ok(jobs) { Ok(()) } else { Err(format!("{counted} of {jobs}")) }
    })
    .await
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
