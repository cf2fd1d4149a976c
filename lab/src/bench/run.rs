//! One measured run: a load, the wait for its jobs' ends, what it cost; then reading all of it back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use stack::Stack;
use uuid::Uuid;

use super::commands::{Commands, Databases};
use super::ends::Ends;
use super::latency::{Latencies, Percentiles};
use super::load::Sent;
use super::usage::{GENERATOR, Snapshot};
use super::verify;

/// What is cleared up after the jobs' ends is part of what they cost: CPU time is counted for this much longer.
const TRAILING_WORK: Duration = Duration::from_secs(2);

/// What a run showed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) jobs: usize,
    /// From the first request to the last terminal status.
    pub(super) jobs_per_s: f64,
    /// From the first request to the last answer.
    pub(super) accepted_per_s: f64,
    /// From just before a request is sent to its answer.
    pub(super) accept_ms: Percentiles,
    /// From just before the request is sent to the broadcast of the terminal status.
    pub(super) end_ms: Percentiles,
    pub(super) cpu: Cpu,
    pub(super) rss_mib: BTreeMap<String, f64>,
    /// By database.
    pub(super) commands: BTreeMap<String, Commands>,
    /// Requests that were refused with 503 and sent again.
    pub(super) refusals: u64,
    /// Ends that were not received and had to be asked for.
    pub(super) ends_asked_for: usize,
    /// How much of the machine others used meanwhile, from 0 to 1.
    pub(super) others_share: f64,
    pub(super) read_back: ReadBack,
}

/// CPU time in milliseconds a job.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cpu {
    pub(super) ms_per_job: BTreeMap<String, f64>,
    /// Of all processes of the stack; the load generator is not one.
    pub(super) sum: f64,
    pub(super) generator: f64,
}

/// Reading all jobs one by one and finding each finished in its first run and attempt.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ReadBack {
    pub(super) jobs_per_s: f64,
    pub(super) cpu: Cpu,
}

/// What runs are made on.
pub(super) struct Bench<'a> {
    pub(super) stack: &'a Stack,
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) ends: Ends,
    pub(super) databases: Databases,
}

impl Bench<'_> {
    /// Measures the load to the last of its ends.
    pub(super) async fn run(&self, load: impl Future<Output = Result<Sent>>) -> Result<Run> {
        let counted_before = self.databases.counters().await?;
        let before = Snapshot::of(self.stack)?;
        let sent = load.await?;
        let ended = self.ends.of(&sent, self.address).await?;
        let at_the_end = Snapshot::of(self.stack)?;
        tokio::time::sleep(TRAILING_WORK).await;
        let after = Snapshot::of(self.stack)?;
        let counted = self.databases.counters().await?;

        let ids: Vec<Uuid> = sent.requests.iter().flat_map(|request| &request.ids).copied().collect();
        let took = verify::read_back(self.address, self.connections, ids).await?;
        let read = Snapshot::of(self.stack)?;

        let jobs = sent.jobs();
        let commands = counted.into_iter().map(|(name, counters)| {
            let before = counted_before.get(&name).copied().unwrap_or_default();
            (name, counters.since(before, jobs))
        });
        let latencies = sent.requests.iter().flat_map(|request| {
            let ends = request.ids.iter().filter_map(|id| ended.received.get(id));
            ends.map(|end| end.saturating_duration_since(request.began))
        });
        Ok(Run {
            jobs,
            jobs_per_s: jobs as f64 / ended.last.duration_since(sent.began).as_secs_f64(),
            accepted_per_s: jobs as f64 / sent.took.as_secs_f64(),
            accept_ms: Latencies::of(sent.requests.iter().map(|request| request.took)).percentiles(),
            end_ms: Latencies::of(latencies).percentiles(),
            cpu: Cpu::between(&before, &after, jobs),
            rss_mib: rss_mib(&at_the_end),
            commands: commands.collect(),
            refusals: sent.refusals(),
            ends_asked_for: ended.asked_for,
            others_share: at_the_end.others_share_since(&before),
            read_back: ReadBack {
                jobs_per_s: jobs as f64 / took.as_secs_f64(),
                cpu: Cpu::between(&after, &read, jobs),
            },
        })
    }
}

/// Memory of each part.
pub(super) fn rss_mib(snapshot: &Snapshot) -> BTreeMap<String, f64> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    snapshot.parts.iter().map(|(name, usage)| (name.clone(), mib(usage.rss_bytes))).collect()
}

impl Cpu {
    fn between(before: &Snapshot, after: &Snapshot, jobs: usize) -> Self {
        let per_job = |cpu: Duration| cpu.as_secs_f64() * 1000.0 / jobs as f64;
        let mut ms_per_job: BTreeMap<String, f64> =
            after.cpu_since(before).into_iter().map(|(name, cpu)| (name, per_job(cpu))).collect();
        let generator = ms_per_job.remove(GENERATOR).unwrap_or_default();
        Self { sum: ms_per_job.values().sum(), ms_per_job, generator }
    }
}
