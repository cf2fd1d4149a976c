//! What a run was and what came of it, for a person.

use std::collections::BTreeMap;
use std::fmt::Write;

use api_service::jobs::Job;
use api_service::schedules::FiringStatus;
use shared_events::{AttemptOutcome, CancelReason, Status};

use super::Settings;
use super::check::{INVARIANTS, Violation, is_explained};
use super::plan::{Fault, Plan, Target};
use super::record::{Changed, Client, Created, Deleted, HistoryEvent, Record};

/// How many violations are shown with all that is known of their jobs.
const SHOWN: usize = 20;

/// How many lost leases are shown that no fault explains.
const EXAMPLES: usize = 5;

pub(super) fn write(
    settings: Settings,
    plan: &Plan,
    record: &Record,
    replies_cut: usize,
    violations: &[Violation],
) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = head(&mut text, settings, plan, record, replies_cut);
    let _ = invariants(&mut text, record, violations);
    text
}

fn head(
    text: &mut String,
    settings: Settings,
    plan: &Plan,
    record: &Record,
    replies_cut: usize,
) -> std::fmt::Result {
    let unanswered = record.clients.iter().filter(|client| client.created == Created::Unknown).count();
    let retries: u32 = record.clients.iter().map(|client| client.retries).sum();
    let cancels: usize = record.clients.iter().map(|client| client.cancels.len()).sum();
    writeln!(text, "seed {}: {} jobs in {:.0} s", settings.seed, settings.jobs, plan.length.as_secs_f64())?;
    writeln!(
        text,
        "asked for: {cancels} cancels, {retries} retries by hand; {unanswered} creates got no answer"
    )?;
    let clients = |which: fn(&&Client) -> bool| record.clients.iter().filter(which).count();
    writeln!(
        text,
        "and: {} jobs in batches, {} deletes, {} cancels and retries of a whole queue; {} creates refused for their object",
        clients(|client| client.script.batch.is_some()),
        clients(|client| client.deleted == Deleted::Yes),
        record.sweeps.len(),
        clients(|client| client.created == Created::Refused)
    )?;
    let delayed = |client: &&Client| client.script.delay.is_some();
    let (changed, not) = (|client: &&Client| client.changed == Changed::Yes, |job: &&Job| job.epoch == 0);
    let jobs = || record.groups.values().filter_map(|group| group.job.as_ref());
    writeln!(
        text,
        "and: {} delayed jobs, {} of them changed, {} cancelled before their time; {} not begun in theirs",
        clients(delayed),
        clients(changed),
        jobs().filter(not).count(),
        jobs().filter(|job| job.reason == Some(CancelReason::Expired)).count()
    )?;
    let of_programs = record.clients.iter().filter(|client| client.script.is_program).count();
    let requests: usize = record.schedules.iter().map(|client| client.triggers.len()).sum();
    let skipped = record.firings.iter().filter(|firing| firing.status == FiringStatus::Skipped).count();
    writeln!(
        text,
        "and: {of_programs} programs; {} schedules with {} firings, {skipped} of them skipped, {requests} by hand",
        record.schedules.len(),
        record.firings.len()
    )?;
    writeln!(text, "done:")?;
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for fault in record.done.iter().map(|done| done.fault) {
        *done.entry(kind(fault, record)).or_default() += 1;
    }
    let planned_kills =
        record.done.iter().filter(|done| matches!(done.fault, Fault::Kill(Target::Worker(_), _)));
    let kills = record.done.iter().filter(|done| matches!(done.fault, Fault::Kill(..))).count();
    writeln!(text, "  {kills:>6}  kill -9 in all")?;
    done.iter().try_for_each(|(what, count)| writeln!(text, "  {count:>6}  {what}"))?;
    let by_jobs = record.exits.len().saturating_sub(planned_kills.count());
    writeln!(text, "  {by_jobs:>6}  workers killed by their jobs\n  {replies_cut:>6}  replies cut off")?;

    let runs = || record.groups.values().flat_map(|group| &group.runs);
    let attempts = || runs().flat_map(|run| &run.attempts);
    let ended = |status| runs().filter(|run| run.status == status).count();
    let was = |outcome| attempts().filter(|attempt| attempt.outcome == outcome).count();
    let reported = |name: &str| record.history.iter().filter(|event| event.name == name).count();
    let lost = attempts().filter(|attempt| attempt.outcome == AttemptOutcome::Lost);
    let unexplained: Vec<_> = lost.filter(|attempt| !is_explained(attempt, record)).collect();
    writeln!(text, "seen:")?;
    writeln!(
        text,
        "  {:>6}  runs: {} finished, {} failed, {} cancelled",
        runs().count(),
        ended(Status::Finished),
        ended(Status::Failed),
        ended(Status::Cancelled)
    )?;
    writeln!(text, "  {:>6}  attempts", attempts().count())?;
    writeln!(
        text,
        "  {:>6}  leases lost, {} of them without a fault near",
        was(AttemptOutcome::Lost),
        unexplained.len()
    )?;
    for attempt in unexplained.iter().take(EXAMPLES) {
        let (worker, from, to) = (&attempt.worker, attempt.started_at, attempt.ended_at);
        writeln!(text, "          such as attempt {} of {worker}, {from} to {to}", attempt.attempt)?;
    }
    writeln!(text, "  {:>6}  announcements delivered again", reported("redelivered"))?;
    writeln!(text, "  {:>6}  claims taken up after their answer was lost", reported("recovered"))?;
    writeln!(
        text,
        "  {:>6}  outcomes refused, {} attempts stopped by the fence",
        reported("refused"),
        reported("lease_lost")
    )?;
    writeln!(text, "  {:>6}  effects for {} keyed ones", reported("effect"), record.effects.len())
}

fn kind(fault: Fault, record: &Record) -> String {
    let service = |target| match target {
        Target::Api(_) => "api".to_owned(),
        Target::Worker(_) => "worker".to_owned(),
        other => other.to_string(),
    };
    match fault {
        Fault::Kill(target, _) => format!("kill -9 of {}", service(target)),
        Fault::Pause(target @ Target::Worker(_), pause) if pause > record.lease => {
            format!("SIGSTOP of {} past the lease", service(target))
        }
        Fault::Pause(target, _) => format!("SIGSTOP of {}", service(target)),
        Fault::Cut(_) => "cuts of all connections to a server".into(),
        Fault::CutBeforeReply(..) => "cuts after a request and before its reply".into(),
        Fault::Stall(..) => "stalls".into(),
        Fault::BlackHole(..) => "dead connections".into(),
        Fault::Copy => "copies of the store of nats".into(),
        Fault::SetBack(_) => "set-backs of nats to a copy".into(),
        Fault::Delete(stream) | Fault::Wipe(stream, _) => format!("losses of {} alone", stream.name()),
        Fault::SetBackOne(stream, _) => format!("set-backs of {} alone", stream.name()),
        Fault::StepClock(_) => "steps of a worker's clock".into(),
        Fault::Fill(stream, _) => format!("times that {} was full", stream.name()),
    }
}

fn invariants(text: &mut String, record: &Record, violations: &[Violation]) -> std::fmt::Result {
    for (invariant, number) in INVARIANTS.iter().zip(1..) {
        let count = violations.iter().filter(|violation| violation.invariant == number).count();
        let verdict = match count {
            0 if number == 6 && !record.no_faults => "--".to_owned(),
            0 => "ok".to_owned(),
            count => format!("{count} VIOLATIONS"),
        };
        writeln!(text, "{number}. {verdict}: {invariant}")?;
    }
    for violation in violations.iter().take(SHOWN) {
        writeln!(text, "\n{violation}")?;
        details(text, record, violation)?;
    }
    if violations.len() > SHOWN {
        writeln!(text, "\n… and {} more:", violations.len() - SHOWN)?;
        violations.iter().skip(SHOWN).take(200).try_for_each(|violation| writeln!(text, "{violation}"))?;
    }
    Ok(())
}

/// All that is known of the violation's job.
fn details(text: &mut String, record: &Record, violation: &Violation) -> std::fmt::Result {
    let Some(id) = violation.job else { return Ok(()) };
    let client = record.clients.iter().find(|client| client.created == Created::Yes(id));
    if let Some(client) = client {
        writeln!(text, "    script {:?}", client.script)?;
        writeln!(
            text,
            "    cancels {:?}, retries {}, saw {:?}",
            client.cancels, client.retries, client.seen
        )?;
    }
    if let Some(group) = record.groups.get(&id) {
        let mut job = group.job.clone();
        job.iter_mut().for_each(|job| job.payload = None);
        writeln!(text, "    job {job:?}")?;
        group.runs.iter().try_for_each(|run| writeln!(text, "    run {run:?}"))?;
    }
    for HistoryEvent { at, worker, name, run, attempt, status, outcome, first } in
        record.history.iter().filter(|event| event.run.job == id)
    {
        writeln!(
            text,
            "    {at} {worker} {name} run {} attempt {attempt} {status:?} {outcome:?} {first:?}",
            run.run
        )?;
    }
    Ok(())
}
