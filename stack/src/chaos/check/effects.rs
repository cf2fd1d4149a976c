//! Invariants 3 and 4: when effects happen, and when they must not.

use shared_events::{AttemptOutcome, Status};

use super::{Case, Violation};
use crate::chaos::mix::Act;
use crate::chaos::record::{Line, Record};
use crate::fsck::RunDoc;

pub(super) fn check(case: &Case<'_>, record: &Record) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for run in &case.group.runs {
        let lines = case.lines(run);
        let say = |invariant, what: String| case.wrong(invariant, format!("run {}: {what}", run.id.run));
        wrong.extend(effects(case, run, lines, record).into_iter().map(|what| say(3, what)));
        wrong.extend(after_cancel(run, lines).into_iter().map(|what| say(4, what)));
    }
    wrong
}

fn effects(case: &Case<'_>, run: &RunDoc, lines: &[&Line], record: &Record) -> Vec<String> {
    let mut wrong = Vec::new();
    let effects: Vec<&&Line> = lines.iter().filter(|line| line.deed == "effect").collect();
    let keyed = record.effects.contains(&run.id);
    if run.status == Status::Finished && (effects.is_empty() || !keyed) {
        wrong
            .push(format!("is finished with {} effects, and the keyed one is there: {keyed}", effects.len()));
    }
    let first = effects.iter().filter(|line| line.first == Some(true)).count();
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

/// Nothing is claimed, and nothing happens, after a cancel that the ledger knew.
fn after_cancel(run: &RunDoc, lines: &[&Line]) -> Vec<String> {
    let known_at = lines
        .iter()
        .filter(|line| {
            line.deed == "flagged" || (line.deed == "closed" && line.status == Some(Status::Cancelled))
        })
        .map(|line| line.attempt);
    let never_claimed = (run.status == Status::Cancelled).then_some(run.attempt);
    let Some(known_at) = known_at.chain(never_claimed).min() else { return Vec::new() };
    let later = lines.iter().filter(|line| {
        line.attempt > known_at && ["claimed", "resumed", "started", "effect"].contains(&line.deed.as_str())
    });
    later
        .map(|line| {
            format!("its cancel was known at attempt {known_at}, and attempt {} {}", line.attempt, line.deed)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use shared_events::{AttemptOutcome, Status};

    use super::super::{check, specimen::Specimen};

    #[test]
    fn finished_without_an_effect_is_found() {
        let mut record = Specimen::finished().record();
        record.lines.retain(|line| line.deed != "effect");
        Specimen::fails(&record, 3, "with 0 effects");
        let mut record = Specimen::finished().record();
        record.effects.clear();
        Specimen::fails(&record, 3, "is there: false");
    }

    #[test]
    fn a_second_effect_without_a_fault_is_found() {
        let mut record = Specimen::retried().record();
        record.clients[0].script.acts = vec![crate::chaos::mix::Act::Done];
        Specimen::line(&mut record, "effect", 1, None, None);
        Specimen::fails(&record, 3, "has had 2 effects with 0");
    }

    #[test]
    fn a_second_effect_after_a_lost_lease_is_fine_and_its_key_holds() {
        let mut record = Specimen::lost_once().record();
        Specimen::line(&mut record, "effect", 1, None, None);
        assert_eq!(check(&record), []);
        record.lines.last_mut().unwrap().first = Some(true);
        Specimen::fails(&record, 3, "happened 2 times");
    }

    #[test]
    fn an_effect_after_a_cancel_is_found() {
        let mut record = Specimen::cancelled_unclaimed().record();
        assert_eq!(check(&record), []);
        Specimen::line(&mut record, "started", 1, None, None);
        Specimen::fails(&record, 4, "attempt 1 started");
    }

    #[test]
    fn a_claim_after_a_flag_is_found() {
        let mut record = Specimen::lost_once().record();
        Specimen::line(&mut record, "flagged", 1, Some(Status::Running), Some(AttemptOutcome::Lost));
        Specimen::fails(&record, 4, "known at attempt 1");
    }
}
