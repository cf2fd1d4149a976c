//! What was measured, as JSON and as tables.

use std::collections::BTreeMap;

use serde::Serialize;

use super::growth::Growth;
use super::latency::Percentiles;
use super::limits::Limits;
use super::run::{Cpu, Run};
use super::table::{Table, number};

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What was run: the command's arguments.
    pub(super) command: String,
    pub(super) machine: Machine,
    pub(super) stored: usize,
    pub(super) runs: Vec<Run>,
    /// Of the runs, that with the median of jobs a second.
    pub(super) median: Option<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) growth: Option<Growth>,
}

/// What it ran on.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    /// Of the last minute, before the start.
    pub(super) load_average: f64,
}

/// The components' own limits, and the median as a share of each, from 0 to 1.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) per_s: Limits,
    /// Jobs a second if a job's steps were all that is done.
    pub(super) whole_life_per_s: f64,
    pub(super) share_of_whole_life: f64,
    pub(super) shares: BTreeMap<&'static str, f64>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average =
            load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Self { cores: std::thread::available_parallelism().map_or(1, usize::from), load_average }
    }
}

impl Measured {
    pub(super) fn new(limits: Limits, jobs_per_s: f64, jobs_per_request: f64) -> Self {
        let whole_life_per_s = limits.of_a_whole_life(jobs_per_request);
        let shares = steps(&limits).into_iter().map(|(name, _, limit)| (name, jobs_per_s / limit)).collect();
        let share_of_whole_life = jobs_per_s / whole_life_per_s;
        Self { per_s: limits, whole_life_per_s, share_of_whole_life, shares }
    }
}

fn steps(limits: &Limits) -> [(&'static str, &'static str, f64); 6] {
    [
        ("insert_one", "mongod insert_one, j:true, 64 at once", limits.insert_one),
        ("insert_many", "mongod insert_many of 100, j:true, 4 at once", limits.insert_many),
        ("update", "mongod update of 100 statements, j:true, 4 at once", limits.update),
        ("publish", "JetStream publish, 1,000 acks in flight", limits.publish),
        ("pull", "JetStream pull and ack, batches of 256", limits.pull),
        ("http", "GET /health/live through nginx, 64 connections", limits.http),
    ]
}

/// The run with the median of jobs a second (of an even number, the lower one).
pub(super) fn median(runs: &[Run]) -> Option<Run> {
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by(|a, b| a.jobs_per_s.total_cmp(&b.jobs_per_s));
    sorted.get(sorted.len().checked_sub(1)? / 2).map(|run| (*run).clone())
}

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "\n{}\n{} cores, load average before the start {:.1}",
            self.command, self.machine.cores, self.machine.load_average
        );
        if self.stored > 0 {
            text.push_str(&format!(", {} jobs stored before", number(self.stored as f64)));
        }
        text.push('\n');
        if !self.runs.is_empty() {
            text.push_str(&self.rates());
        }
        if let Some(median) = &self.median {
            text.push_str(&latencies(median));
            text.push_str(&costs(median));
            text.push_str(&commands(median));
        }
        if let Some(limits) = &self.limits {
            text.push_str(&of_limits(limits));
        }
        if let Some(growth) = &self.growth {
            text.push_str(&of_growth(growth));
        }
        text
    }

    fn rates(&self) -> String {
        let mut table = Table::new([
            "",
            "jobs/s",
            "accepted/s",
            "p50 end ms",
            "p99 end ms",
            "CPU ms/job",
            "by others",
            "asked for",
            "refused",
        ]);
        let line = |name: String, run: &Run| {
            [
                name,
                number(run.jobs_per_s),
                number(run.accepted_per_s),
                number(run.end_ms.p50),
                number(run.end_ms.p99),
                number(run.cpu.sum),
                format!("{:.0} %", run.others_share * 100.0),
                run.ends_asked_for.to_string(),
                run.refusals.to_string(),
            ]
        };
        for (index, run) in self.runs.iter().enumerate() {
            table.line(line(format!("run {}", index + 1), run));
        }
        if let Some(median) = &self.median {
            table.line(line("median".into(), median));
        }
        table.text()
    }
}

fn latencies(run: &Run) -> String {
    let mut table = Table::new(["median run, ms", "p50", "p99", "p99.9", "max"]);
    let line = |name: &str, latency: &Percentiles| {
        let [p50, p99, p999, max] = [latency.p50, latency.p99, latency.p999, latency.max].map(number);
        [name.to_owned(), p50, p99, p999, max]
    };
    table.line(line("request to its answer", &run.accept_ms));
    table.line(line("request to terminal", &run.end_ms));
    table.text()
}

fn costs(run: &Run) -> String {
    let mut table = Table::new(["median run", "CPU ms/job", "memory MiB", "CPU ms/job read back"]);
    let of = |cpu: &Cpu, name: &str| number(cpu.ms_per_job.get(name).copied().unwrap_or_default());
    let read = &run.read_back;
    let mib = |name: &str| number(run.rss_mib.get(name).copied().unwrap_or_default());
    for name in run.cpu.ms_per_job.keys() {
        table.line([name.clone(), of(&run.cpu, name), mib(name), of(&read.cpu, name)]);
    }
    let sums = [number(run.cpu.sum), String::new(), number(read.cpu.sum)];
    table.line(std::iter::once("all of the stack".to_owned()).chain(sums));
    let generator = super::usage::GENERATOR;
    table.line([generator.to_owned(), number(run.cpu.generator), mib(generator), number(read.cpu.generator)]);
    let (jobs, rate) = (number(run.jobs as f64), number(read.jobs_per_s));
    format!("{}\n  {jobs} jobs read back at {rate}/s: each finished, run 1, attempt 1\n", table.text())
}

fn commands(run: &Run) -> String {
    let mut table = Table::new([
        "median run",
        "inserted/job",
        "per insert",
        "updates/job",
        "per update",
        "finds/job",
        "syncs/job",
    ]);
    for (name, commands) in &run.commands {
        let numbers = [
            commands.documents_per_job,
            commands.documents_per_insert,
            commands.statements_per_job,
            commands.statements_per_update,
            commands.finds_per_job,
            commands.syncs_per_job,
        ];
        table.line(std::iter::once(name.clone()).chain(numbers.map(number)));
    }
    table.text()
}

fn of_limits(measured: &Measured) -> String {
    let mut table = Table::new(["what the components can do here", "per s", "median as share"]);
    for (name, what, limit) in steps(&measured.per_s) {
        let share = measured.shares.get(name).copied().unwrap_or_default();
        table.line([what.to_owned(), number(limit), format!("{:.0} %", share * 100.0)]);
    }
    let share = format!("{:.0} %", measured.share_of_whole_life * 100.0);
    table.line(["all steps of a job, nothing else".into(), number(measured.whole_life_per_s), share]);
    table.text()
}

fn of_growth(growth: &Growth) -> String {
    let running = format!("{} running", number(growth.running as f64));
    let waiting = format!("{} waiting", number(growth.waiting as f64));
    let mut table = Table::new(["memory in MiB", "idle", &running, &waiting, "idle CPU"]);
    let of = |parts: &BTreeMap<String, f64>, name: &str| parts.get(name).copied().unwrap_or_default();
    for (name, idle) in &growth.idle_mib {
        table.line([
            name.clone(),
            number(*idle),
            number(of(&growth.running_mib, name)),
            number(of(&growth.waiting_mib, name)),
            format!("{:.1} %", of(&growth.idle_cpu_percent, name)),
        ]);
    }
    let [all, api, worker] = [growth.stack_start_ms, growth.api_start_ms, growth.worker_start_ms].map(number);
    format!(
        "{}\n  ready after: the stack {all} ms, an api-service {api} ms, a job-service {worker} ms\n",
        table.text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::commands::Commands;
    use crate::bench::run::ReadBack;

    fn run(jobs_per_s: f64) -> Run {
        let percentiles = Percentiles { count: 1, p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 };
        let ms_per_job = BTreeMap::from([("api-1".to_owned(), 0.05)]);
        let cpu = Cpu { ms_per_job, sum: 0.05, generator: 0.01 };
        Run {
            jobs: 20_000,
            jobs_per_s,
            accepted_per_s: 10_000.0,
            accept_ms: percentiles,
            end_ms: percentiles,
            cpu: cpu.clone(),
            rss_mib: BTreeMap::from([("api-1".to_owned(), 17.0)]),
            commands: BTreeMap::from([("api-mongo".to_owned(), Commands::default())]),
            refusals: 0,
            ends_asked_for: 0,
            others_share: 0.25,
            read_back: ReadBack { jobs_per_s: 12_000.0, cpu },
        }
    }

    #[test]
    fn the_median_is_one_of_the_runs() {
        let runs = [run(9000.0), run(7000.0), run(8000.0), run(8500.0)];
        assert_eq!(median(&runs[..3]).unwrap().jobs_per_s, 8000.0);
        assert_eq!(median(&runs).unwrap().jobs_per_s, 8000.0);
        assert!(median(&[]).is_none());
    }

    #[test]
    fn text_and_json_tell_the_same() {
        let limits =
            Limits { insert_one: 1e4, insert_many: 2e5, update: 5e4, publish: 2e5, pull: 2e5, http: 5e4 };
        let report = Report {
            command: "cargo stack bench".into(),
            machine: Machine { cores: 2, load_average: 0.5 },
            stored: 1_000_000,
            runs: vec![run(8000.0)],
            median: Some(run(8000.0)),
            limits: Some(Measured::new(limits, 8000.0, 1.0)),
            growth: None,
        };
        let text = report.text();
        for shown in ["1,000,000 jobs stored", "8,000", "api-1", "0.050", "25 %", "80 %"] {
            assert!(text.contains(shown), "{shown} is missing in {text}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["median"]["end_ms"]["p99.9"], 3.0);
        assert_eq!(json["limits"]["shares"]["insert_one"], 0.8);
        assert!(json.get("growth").is_none());
    }
}
