//! Whether a job has what will move it on, and whether both databases agree about it: a pure function of what was
//! read.

mod ended;
mod open;
#[cfg(test)]
mod sample;

use std::collections::HashMap;
use std::time::Duration;

use bson::DateTime;
use job_service::ledger::Run;

use super::group::Group;

/// What the broker has, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct BrokerView {
    /// The generation of `JOBS`, as the api-service counts them.
    pub generation: i64,
    /// Each consumer of `JOBS`, by name.
    pub consumers: HashMap<String, ConsumerView>,
    /// Events that the api-service has not acked yet.
    pub events: u64,
    /// Cancels that no worker has acked yet.
    pub cancels: u64,
}

/// The consumer of one queue and priority.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsumerView {
    /// The sequence up to which all is acked.
    pub ack_floor: i64,
    /// How many messages were not delivered yet.
    pub pending: u64,
    /// How many messages were delivered and are not acked yet.
    pub unacked: u64,
}

/// What was found about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All its runs have ended, the same in both databases.
    Ended,
    /// It was deleted, or went when its time was over.
    Gone,
    /// It goes on, moved by this.
    MovedBy(&'static str),
    /// It goes on by its announcement if the broker has that at this sequence. Else this is wrong, or, where nothing is
    /// said, the reconciler announces it again.
    IfAnnouncedAt(u64, Option<String>),
    /// It does not go on, or the databases contradict each other.
    Broken(String),
}

/// See the module. `retention` is how long a run is kept after its end.
pub fn judge(group: &Group, broker: &BrokerView, now: DateTime, retention: Duration) -> Finding {
    let Some(job) = &group.job else { return ended::without_job(group, now) };
    let ledger: HashMap<u32, &Run> = group.runs.iter().map(|run| (run.id.run, run)).collect();
    for earlier in group.earlier.iter().filter(|earlier| earlier.run < job.run) {
        if let Some(wrong) = ended::disagree(earlier, ledger.get(&earlier.run).copied(), now, retention) {
            return Finding::Broken(wrong);
        }
    }
    let is_missing = |run: &u32| {
        let is_kept = group.earlier.iter().any(|earlier| earlier.run == *run);
        !is_kept && !ended::is_over(job, *run, ledger.get(run).copied(), now, retention)
    };
    if let Some(missing) = (1..job.run).find(is_missing) {
        return Finding::Broken(format!("run {missing} was replaced by a retry and is not kept"));
    }
    if let Some(run) = group.runs.iter().find(|run| run.id.run > job.run) {
        let (run, latest) = (run.id.run, job.run);
        return Finding::Broken(format!("the ledger knows run {run}, the job is at run {latest}"));
    }
    let run = ledger.get(&job.run).copied();
    if job.status.is_terminal() {
        return ended::disagree(job, run, now, retention).map_or(Finding::Ended, Finding::Broken);
    }
    open::moved_by(job, run, broker)
}
