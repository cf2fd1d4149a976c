//! The invariants, checked on what was collected of a run: pure functions, so that tests can show that each of them
//! can fail.

mod effects;
mod ends;
mod firings;
mod history;
mod no_faults;
mod rest;
#[cfg(test)]
mod sample;

use std::collections::HashMap;
use std::fmt;

use api_service::jobs::Job;
use hasty::fsck::Group;
use job_service::ledger::Run;
use serde::Deserialize;
use shared_events::{JobId, RunId};

use super::record::{Client, Created, HistoryEvent, Record};
pub(super) use rest::is_explained;

/// What the invariants say, by number.
pub const INVARIANTS: [&str; 7] = [
    "every 201 has one end a run, the same in both databases, until it is deleted; an unanswered create is there as a whole, or not; an object has one job",
    "no step backwards, one terminal write a run, no accepted write of an older attempt",
    "finished means that the effect happened, more often only after a fault in that run; a keyed effect happened once; a program's result is what it wrote",
    "a cancel that the ledger knew before the claim means no effect",
    "at the end nothing is left to do, and every end is one that was planned, asked for, or that faults explain",
    "without faults nothing is delivered, attempted or effected twice",
    "each due time of a schedule, and each request by hand, is decided once and has one job, or is skipped as its overlap has it",
];

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which, from 1.
    pub invariant: usize,
    /// The job.
    pub job: Option<JobId>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = self.job.map_or_else(String::new, |job| format!("{job}: "));
        write!(f, "{}. {job}{}", self.invariant, self.what)
    }
}

/// One job with all that is known of it.
struct Case<'a> {
    id: JobId,
    group: &'a Group,
    /// Who asked for it; none where nobody did.
    client: Option<&'a Client>,
    history: HashMap<RunId, Vec<&'a HistoryEvent>>,
}

impl<'a> Case<'a> {
    /// The job's document at each of its runs.
    fn job_runs(&self) -> impl Iterator<Item = &'a Job> {
        let latest = self.group.job.as_ref();
        let before = self.group.earlier.iter().filter(move |run| latest.is_some_and(|job| run.run < job.run));
        before.chain(latest)
    }

    fn history(&self, run: &Run) -> &[&'a HistoryEvent] {
        self.history.get(&run.id).map_or(&[], Vec::as_slice)
    }

    fn wrong(&self, invariant: usize, what: String) -> Violation {
        Violation { invariant, job: Some(self.id), what }
    }
}

/// Checks all invariants; none of them holds by chance because nothing was collected.
pub(super) fn check(record: &Record) -> Vec<Violation> {
    let cases = cases(record);
    let mut wrong = ends::check(record, &cases);
    for case in &cases {
        wrong.extend(history::check(case));
        wrong.extend(effects::check(case, record));
        wrong.extend(rest::check_job(case, record));
        if record.no_faults {
            wrong.extend(no_faults::check(case));
        }
    }
    wrong.extend(firings::check(record, &cases));
    wrong.extend(rest::check_all(record));
    wrong.sort_by_key(|violation| violation.invariant);
    wrong
}

fn cases(record: &Record) -> Vec<Case<'_>> {
    let clients: HashMap<usize, &Client> =
        record.clients.iter().map(|client| (client.script.tag, client)).collect();
    // A job that was deleted does not say who created it.
    let created = |client: &'_ Client| match client.created {
        Created::Yes(id) => Some(id),
        _ => None,
    };
    let by_id: HashMap<JobId, &Client> =
        record.clients.iter().filter_map(|client| Some((created(client)?, client))).collect();
    let mut history: HashMap<JobId, HashMap<RunId, Vec<&HistoryEvent>>> = HashMap::new();
    for event in &record.history {
        history.entry(event.run.job).or_default().entry(event.run).or_default().push(event);
    }
    let mut cases: Vec<Case<'_>> = record
        .groups
        .iter()
        .map(|(id, group)| {
            let by_tag = group.job.as_ref().and_then(tag).and_then(|tag| clients.get(&tag).copied());
            let client = by_tag.or_else(|| by_id.get(id).copied());
            Case { id: *id, group, client, history: history.remove(id).unwrap_or_default() }
        })
        .collect();
    cases.sort_by_key(|case| case.id);
    cases
}

/// The number that the job's script has put into its payload.
fn tag(job: &Job) -> Option<usize> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Payload {
        Fault { tag: usize },
        Program { env: Environment },
    }
    #[derive(Deserialize)]
    struct Environment {
        #[serde(rename = "TAG")]
        tag: String,
    }
    match serde_json::from_str(job.payload.as_deref()?).ok()? {
        Payload::Fault { tag } => Some(tag),
        Payload::Program { env } => env.tag.parse().ok(),
    }
}
