//! Invariant 2: no step backwards, one terminal write a run, no accepted write of an older attempt.

use std::collections::{BTreeMap, BTreeSet};

use job_service::ledger::Run;
use shared_events::{AttemptOutcome, Position, Status};

use super::{Case, Violation};
use crate::chaos::record::HistoryEvent;

pub(super) fn check(case: &Case<'_>) -> Vec<Violation> {
    let mut wrong = seen(case);
    for run in &case.group.runs {
        let say = |what| case.wrong(2, format!("run {}: {what}", run.id.run));
        wrong.extend(attempts(run).map(say));
        wrong.extend(writes(run, case.history(run)).into_iter().map(say));
    }
    wrong
}

/// What the client saw, one answer after the other.
fn seen(case: &Case<'_>) -> Vec<Violation> {
    let Some(client) = case.client else { return Vec::new() };
    let mut wrong = Vec::new();
    for pair in client.seen.windows(2) {
        if !may_follow(pair[0], pair[1]) {
            wrong.push(case.wrong(2, format!("the client saw {:?} and then {:?}", pair[0], pair[1])));
        }
    }
    for seen in client.seen.iter().filter(|seen| seen.status.is_terminal()) {
        let stored = case.job_runs().find(|job| job.run == seen.run);
        let mut stored = stored.map(|job| (job.status, job.attempt));
        if case.group.job.is_none() && case.group.has_stub {
            let run = case.group.runs.iter().find(|run| run.id.run == seen.run);
            stored = run.map(|run| (run.status, run.attempt));
            // Of one that was cancelled before its time and then deleted nothing is left.
            if run.is_none() && client.script.delay.is_some() {
                stored = Some((Status::Cancelled, 0));
            }
        }
        if stored != Some((seen.status, seen.attempt)) {
            wrong.push(
                case.wrong(2, format!("the client saw the end {seen:?}, and that is not what is stored")),
            );
        }
    }
    wrong
}

fn may_follow(before: Position, after: Position) -> bool {
    if before.run != after.run {
        return before.run < after.run;
    }
    if before.status.is_terminal() {
        return before == after;
    }
    after.status.is_terminal() || place(before) <= place(after)
}

/// A run that is back in the queue stands above the attempt that ended.
fn place(position: Position) -> (u32, u8) {
    let waits_again = position.status == Status::Queued && position.attempt > 0;
    (position.attempt + u32::from(waits_again), position.status.rank())
}

/// The ledger's own account of a run's attempts.
fn attempts(run: &Run) -> Option<String> {
    let numbers: Vec<u32> = run.attempts.iter().map(|attempt| attempt.attempt).collect();
    let first = numbers.first().copied().unwrap_or(1);
    let complete = numbers.iter().copied().eq(first..first + numbers.len() as u32);
    let last = numbers.last().copied().unwrap_or(0);
    if run.status.is_terminal() && (!complete || last != run.attempt || (numbers.len() < 100 && first > 1)) {
        return Some(format!("ended after attempt {} with the attempts {numbers:?}", run.attempt));
    }
    let charged = run.attempts.iter().filter(|attempt| attempt.charged).count();
    if run.status.is_terminal() && numbers.len() < 100 && charged != run.charged as usize {
        return Some(format!("is charged {} times, and {charged} of its attempts are", run.charged));
    }
    let lost = run.attempts.iter().filter(|attempt| attempt.outcome == AttemptOutcome::Lost).count();
    if numbers.len() < 100 && lost != run.lost as usize {
        return Some(format!("has lost {} leases, and {lost} of its attempts have", run.lost));
    }
    let last = run.attempts.last().map(|attempt| attempt.outcome);
    let fits = match run.status {
        Status::Finished => last == Some(AttemptOutcome::Finished),
        Status::Failed => matches!(last, Some(AttemptOutcome::Failed | AttemptOutcome::Lost)),
        Status::Cancelled => last != Some(AttemptOutcome::Finished),
        Status::Scheduled | Status::Queued | Status::Running => true,
    };
    (!fits).then(|| format!("is {} after an attempt that was {last:?}", run.status))
}

/// What the workers say that the ledger took of them.
fn writes(run: &Run, events: &[&HistoryEvent]) -> Vec<String> {
    let mut wrong = Vec::new();
    let outcomes: BTreeMap<u32, AttemptOutcome> =
        run.attempts.iter().map(|attempt| (attempt.attempt, attempt.outcome)).collect();
    let oldest_kept = outcomes.keys().next().copied().unwrap_or(0);
    let mut ends = BTreeSet::new();
    let mut starts: BTreeMap<u32, u32> = BTreeMap::new();
    for event in events {
        match event.name.as_str() {
            "started" => *starts.entry(event.attempt).or_default() += 1,
            "recorded" | "closed" if event.status.is_some_and(Status::is_terminal) => {
                ends.insert((event.attempt, event.status.map(Status::as_str)));
            }
            _ => {}
        }
        let kept = outcomes.get(&event.attempt).copied();
        if event.name == "recorded" && event.attempt >= oldest_kept && kept != event.outcome {
            let (attempt, said) = (event.attempt, event.outcome);
            wrong.push(format!(
                "the outcome {said:?} of attempt {attempt} was accepted, and the ledger has {kept:?}"
            ));
        }
    }
    for (attempt, times) in starts.into_iter().filter(|(_, times)| *times > 1) {
        wrong.push(format!("attempt {attempt} was started {times} times"));
    }
    if ends.len() > 1 {
        wrong.push(format!("has had several ends: {ends:?}"));
    }
    let end = (run.attempt, Some(run.status.as_str()));
    if ends.iter().any(|accepted| *accepted != end) {
        wrong.push(format!("the ends {ends:?} were accepted, and the ledger has {end:?}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use shared_events::{AttemptOutcome, Position, Status};

    use super::super::{check, sample::Sample};

    fn at(attempt: u32, status: Status) -> Position {
        Position { run: 1, attempt, status }
    }

    #[test]
    fn a_step_backwards_that_a_client_saw_is_found() {
        let mut record = Sample::retried().record();
        record.clients[0].seen = vec![
            at(0, Status::Queued),
            at(1, Status::Running),
            at(1, Status::Queued),
            at(2, Status::Finished),
        ];
        assert_eq!(check(&record), []);
        record.clients[0].seen = vec![at(1, Status::Running), at(0, Status::Queued)];
        Sample::fails(&record, 2, "and then");
        record.clients[0].seen = vec![at(2, Status::Finished), at(2, Status::Running)];
        Sample::fails(&record, 2, "and then");
    }

    #[test]
    fn an_end_that_a_client_saw_and_that_is_not_stored_is_found() {
        let mut record = Sample::finished().record();
        record.clients[0].seen = vec![at(1, Status::Failed)];
        Sample::fails(&record, 2, "not what is stored");
    }

    #[test]
    fn a_second_end_is_found() {
        let mut record = Sample::retried().record();
        Sample::event(&mut record, "recorded", 1, Some(Status::Failed), Some(AttemptOutcome::Failed));
        Sample::fails(&record, 2, "several ends");
    }

    #[test]
    fn an_accepted_write_of_an_older_attempt_is_found() {
        let mut record = Sample::retried().record();
        Sample::run(&mut record).attempts[0].outcome = AttemptOutcome::Lost;
        Sample::fails(&record, 2, "was accepted, and the ledger has Some(Lost)");
    }

    #[test]
    fn an_attempt_that_was_started_twice_is_found() {
        let mut record = Sample::finished().record();
        Sample::event(&mut record, "started", 1, None, None);
        Sample::fails(&record, 2, "was started 2 times");
    }

    #[test]
    fn attempts_that_are_missing_or_wrongly_charged_are_found() {
        let mut record = Sample::retried().record();
        Sample::run(&mut record).attempts.remove(0);
        Sample::fails(&record, 2, "with the attempts [2]");
        let mut record = Sample::retried().record();
        Sample::run(&mut record).charged = 1;
        Sample::fails(&record, 2, "is charged 1 times");
    }
}
