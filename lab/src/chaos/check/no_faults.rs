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
        let events = case.history(run);
        for name in ["redelivered", "recovered", "refused", "lease_lost"] {
            if events.iter().any(|event| event.name == name) {
                say(format!("was {name}"));
            }
        }
        if events.iter().filter(|event| event.name == "effect").count() > 1 {
            say("has had its effect twice".into());
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::{check, sample::Sample};

    #[test]
    fn anything_that_happened_twice_is_found() {
        let without_faults = |sample: Sample| {
            let mut record = sample.record();
            record.no_faults = true;
            record
        };
        assert_eq!(check(&without_faults(Sample::retried())), []);
        Sample::fails(&without_faults(Sample::lost_once()), 6, "was Lost");
        let mut record = without_faults(Sample::finished());
        Sample::event(&mut record, "redelivered", 0, None, None);
        Sample::fails(&record, 6, "redelivered");
        let mut record = without_faults(Sample::finished());
        Sample::event(&mut record, "effect", 1, None, None);
        Sample::fails(&record, 6, "effect twice");
        let mut record = without_faults(Sample::retried());
        record.clients[0].script.acts = vec![crate::chaos::mix::Act::Done];
        Sample::fails(&record, 6, "was to have 1");
    }
}
