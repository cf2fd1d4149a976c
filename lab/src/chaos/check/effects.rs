//! Invariants 3 and 4: when effects happen, and when they must not.

use job_service::ledger::Run;
use shared_events::{AttemptOutcome, Status};

use super::{Case, Violation};
use crate::chaos::mix::Act;
use crate::chaos::programs;
use crate::chaos::record::{HistoryEvent, Record};

pub(super) fn check(case: &Case<'_>, record: &Record) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for run in &case.group.runs {
        let events = case.history(run);
        let say = |invariant, what: String| case.wrong(invariant, format!("run {}: {what}", run.id.run));
        wrong.extend(effects(case, run, events, record).into_iter().map(|what| say(3, what)));
        wrong.extend(result(case, run).map(|what| say(3, what)));
        wrong.extend(after_cancel(run, events).into_iter().map(|what| say(4, what)));
    }
    wrong
}

fn effects(case: &Case<'_>, run: &Run, events: &[&HistoryEvent], record: &Record) -> Vec<String> {
    let mut wrong = Vec::new();
    let effects: Vec<&&HistoryEvent> = events.iter().filter(|event| event.name == "effect").collect();
    let keyed = record.effects.contains(&run.id);
    if run.status == Status::Finished && (effects.is_empty() || !keyed) {
        wrong
            .push(format!("is finished with {} effects, and the keyed one is there: {keyed}", effects.len()));
    }
    let first = effects.iter().filter(|event| event.first == Some(true)).count();
    if first > 1 || (!effects.is_empty() && !keyed) {
        wrong.push(format!("the keyed effect happened {first} times, and is there: {keyed}"));
    }
    for (index, effect) in effects.iter().enumerate() {
        let attempt = effect.attempt;
        if effects[..index].iter().any(|before| before.attempt == attempt) {
            wrong.push(format!("attempt {attempt} had its effect twice"));
        }
        if case.client.is_some_and(|client| client.script.act(attempt) != Act::Done) {
            wrong.push(format!("attempt {attempt} was to have no effect, and has had one"));
        }
        let outcome = run.attempts.iter().find(|kept| kept.attempt == attempt).map(|kept| kept.outcome);
        if effects.len() > 1
            && matches!(outcome, None | Some(AttemptOutcome::Failed))
            && run.status.is_terminal()
        {
            wrong.push(format!(
                "one of {} effects is of attempt {attempt}, which was {outcome:?}",
                effects.len()
            ));
        }
    }
    let kept = |outcome| run.attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
    let faults = kept(AttemptOutcome::Lost) + kept(AttemptOutcome::Released);
    if effects.len() > 1 + faults {
        wrong.push(format!("has had {} effects with {faults} attempts lost or given back", effects.len()));
    }
    wrong
}

/// What a program wrote is the result of its run.
fn result(case: &Case<'_>, run: &Run) -> Option<String> {
    let script = case.client.map(|client| &client.script).filter(|script| script.is_program)?;
    let job = case.job_runs().find(|job| job.run == run.id.run && job.status == Status::Finished)?;
    programs::wrong_result(script, job.attempt, job.result.as_deref())
}

/// Nothing is claimed, and nothing happens, after a cancel that the ledger knew.
fn after_cancel(run: &Run, events: &[&HistoryEvent]) -> Vec<String> {
    let known_at = events
        .iter()
        .filter(|event| {
            event.name == "flagged" || (event.name == "closed" && event.status == Some(Status::Cancelled))
        })
        .map(|event| event.attempt);
    let never_claimed = (run.status == Status::Cancelled).then_some(run.attempt);
    let Some(known_at) = known_at.chain(never_claimed).min() else { return Vec::new() };
    let later = events.iter().filter(|event| {
        event.attempt > known_at
            && ["claimed", "recovered", "started", "effect"].contains(&event.name.as_str())
    });
    later
        .map(|event| {
            format!(
                "its cancel was known at attempt {known_at}, and attempt {} {}",
                event.attempt, event.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use shared_events::{AttemptOutcome, Status};

    use super::super::{check, sample::Sample};

    #[test]
    fn finished_without_an_effect_is_found() {
        let mut record = Sample::finished().record();
        record.history.retain(|event| event.name != "effect");
        Sample::fails(&record, 3, "with 0 effects");
        let mut record = Sample::finished().record();
        record.effects.clear();
        Sample::fails(&record, 3, "is there: false");
    }

    #[test]
    fn a_second_effect_without_a_fault_is_found() {
        let mut record = Sample::retried().record();
        record.clients[0].script.acts = vec![crate::chaos::mix::Act::Done];
        Sample::event(&mut record, "effect", 1, None, None);
        Sample::fails(&record, 3, "has had 2 effects with 0");
    }

    #[test]
    fn a_second_effect_after_a_lost_lease_is_fine_and_its_key_holds() {
        let mut record = Sample::lost_once().record();
        Sample::event(&mut record, "effect", 1, None, None);
        assert_eq!(check(&record), []);
        record.history.last_mut().unwrap().first = Some(true);
        Sample::fails(&record, 3, "happened 2 times");
    }

    #[test]
    fn a_result_that_the_program_did_not_write_is_found() {
        let mut record = Sample::finished().record();
        record.clients[0].script.is_program = true;
        Sample::fails(&record, 3, "was to say");
        let wrote = |text: &str| format!("{{\"text\":\"{text}\\n\"}}");
        let (out, err) = (wrote("program 0"), wrote("effect of attempt 1"));
        record.groups.values_mut().for_each(|group| {
            group.job.as_mut().unwrap().result =
                Some(format!("{{\"exit_code\":0,\"stdout\":{out},\"stderr\":{err}}}"));
        });
        assert_eq!(check(&record), []);
    }

    #[test]
    fn an_effect_after_a_cancel_is_found() {
        let mut record = Sample::cancelled_unclaimed().record();
        assert_eq!(check(&record), []);
        Sample::event(&mut record, "started", 1, None, None);
        Sample::fails(&record, 4, "attempt 1 started");
    }

    #[test]
    fn a_claim_after_a_flag_is_found() {
        let mut record = Sample::lost_once().record();
        Sample::event(&mut record, "flagged", 1, Some(Status::Running), Some(AttemptOutcome::Lost));
        Sample::fails(&record, 4, "known at attempt 1");
    }
}
