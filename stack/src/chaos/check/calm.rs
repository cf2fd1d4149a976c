//! Invariant 6: without faults nothing is delivered, attempted or effected twice.

use shared_events::AttemptOutcome;

use super::{Case, Violation};
use crate::chaos::mix::Act;

pub(super) fn check(case: &Case<'_>) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for run in &case.group.runs {
        let mut say = |what: String| wrong.push(case.wrong(6, format!("run {}: {what}", run.id.run)));
        for attempt in &run.attempts {
            if matches!(attempt.outcome, AttemptOutcome::Lost | AttemptOutcome::Released) {
                say(format!("attempt {} was {:?}", attempt.attempt, attempt.outcome));
            }
        }
        if let Some(client) = case.client {
            let failing = |number: &u32| matches!(client.script.act(*number), Act::Retry | Act::Panic);
            let planned = (1..run.max_attempts).take_while(failing).count() + 1;
            if run.attempt as usize > planned {
                say(format!("has had {} attempts, and was to have {planned}", run.attempt));
            }
        }
        let lines = case.lines(run);
        for deed in ["redelivered", "resumed", "refused", "lease_lost"] {
            if lines.iter().any(|line| line.deed == deed) {
                say(format!("was {deed}"));
            }
        }
        if lines.iter().filter(|line| line.deed == "effect").count() > 1 {
            say("has had its effect twice".into());
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::{check, specimen::Specimen};

    #[test]
    fn anything_that_happened_twice_is_found() {
        let calm = |specimen: Specimen| {
            let mut record = specimen.record();
            record.calm = true;
            record
        };
        assert_eq!(check(&calm(Specimen::retried())), []);
        Specimen::fails(&calm(Specimen::lost_once()), 6, "was Lost");
        let mut record = calm(Specimen::finished());
        Specimen::line(&mut record, "redelivered", 0, None, None);
        Specimen::fails(&record, 6, "redelivered");
        let mut record = calm(Specimen::finished());
        Specimen::line(&mut record, "effect", 1, None, None);
        Specimen::fails(&record, 6, "effect twice");
        let mut record = calm(Specimen::retried());
        record.clients[0].script.acts = vec![crate::chaos::mix::Act::Done];
        Specimen::fails(&record, 6, "was to have 1");
    }
}
