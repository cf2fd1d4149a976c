//! Jobs that have not ended: what moves them on?

use api_service::jobs::{Job, NextAction};
use job_service::ledger::{self, Run};
use shared_events::{Status, streams};

use super::{BrokerView, Finding};

/// What moves on a job that has not ended for the api-service.
pub(super) fn moved_by(job: &Job, run: Option<&Run>, broker: &BrokerView) -> Finding {
    let (Some(next_action), Some(_)) = (job.next_action, job.next_action_at) else {
        return Finding::Broken(format!(
            "run {} is {} and has no next_action with a due time",
            job.run, job.status
        ));
    };
    if job.status == Status::Scheduled || next_action == NextAction::Promote {
        return scheduled(job, next_action, run);
    }
    let is_marked = match next_action {
        NextAction::Announce | NextAction::AwaitRoom | NextAction::Cancel => true,
        NextAction::Promote | NextAction::Check => false,
    };
    match run {
        Some(run) if !run.status.is_terminal() && !relies_on_announcement(run) => moved_by_ledger(run),
        Some(run)
            if run.next_action == Some(ledger::NextAction::Announce) && run.next_action_at.is_some() =>
        {
            Finding::MovedBy("end to be announced")
        }
        Some(run) if run.status.is_terminal() && broker.events > 0 => Finding::MovedBy("event on its way"),
        _ if is_marked => Finding::MovedBy("outbox mark"),
        _ => announced(job, run.is_some_and(relies_on_announcement), broker),
    }
}

/// A job whose time has not come: its document alone knows of it.
fn scheduled(job: &Job, next_action: NextAction, run: Option<&Run>) -> Finding {
    if let Some(run) = run {
        return Finding::Broken(format!("run {} is scheduled, and {} in the ledger", job.run, run.status));
    }
    if job.status != Status::Scheduled || next_action != NextAction::Promote || job.epoch != 0 {
        let (run, status) = (job.run, job.status);
        return Finding::Broken(format!("run {run} is {status} with the next_action {next_action:?}"));
    }
    Finding::MovedBy("its own time")
}

/// Whether it runs and is not among what is due: its announcement, not acked yet, is what brings it on.
fn relies_on_announcement(run: &Run) -> bool {
    run.status == Status::Running && run.next_action.is_none() && run.next_action_at.is_none()
}

fn moved_by_ledger(run: &Run) -> Finding {
    let is_to_be_run = match run.next_action {
        Some(ledger::NextAction::Run | ledger::NextAction::AnnounceAndRun) => run.next_action_at.is_some(),
        Some(ledger::NextAction::Announce) | None => false,
    };
    if !is_to_be_run {
        let (number, status) = (run.id.run, run.status);
        return Finding::Broken(format!(
            "run {number} is {status} in the ledger and has no next_action with a due time"
        ));
    }
    match run.status {
        Status::Running if run.lease_until.is_none() => {
            Finding::Broken(format!("run {} is running in the ledger and has no lease", run.id.run))
        }
        Status::Running => Finding::MovedBy("lease"),
        _ => Finding::MovedBy("retry's due time"),
    }
}

/// A job that was announced, and that the ledger does not know, or leaves to its announcement, which then must not be
/// acked, or has nothing more to say about.
fn announced(job: &Job, relies_on_announcement: bool, broker: &BrokerView) -> Finding {
    let Some(announced) = job.announced.filter(|announced| announced.generations.jobs == broker.generation)
    else {
        return Finding::MovedBy("reconciler: announced to an earlier generation of JOBS");
    };
    let consumer = streams::worker_consumer_name(&job.queue, job.priority);
    let consumer = broker.consumers.get(&consumer).copied();
    let Ok(sequence @ 1..) = u64::try_from(announced.sequence) else {
        if broker.cancels > 0 {
            return Finding::MovedBy("cancel on its way");
        }
        return Finding::MovedBy("reconciler: cancel published, no answer yet");
    };
    let lost = |what: &str| {
        format!(
            "run {} is running, has no next_action with a due time in the ledger, and its announcement is {what}",
            job.run
        )
    };
    match consumer {
        Some(consumer) if announced.sequence <= consumer.ack_floor && relies_on_announcement => {
            Finding::Broken(lost("acked"))
        }
        Some(consumer) if announced.sequence <= consumer.ack_floor => {
            Finding::MovedBy("reconciler: acked, silent")
        }
        Some(consumer) if consumer.pending + consumer.unacked > 0 => Finding::MovedBy("waiting in JOBS"),
        _ => Finding::IfAnnouncedAt(sequence, relies_on_announcement.then(|| lost("gone"))),
    }
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, Document, doc};

    use super::super::sample::{is_broken, job, look, with_run};
    use super::*;
    use crate::fsck::group::Group;

    fn announced(sequence: i64) -> Document {
        let generations = doc! { "jobs": 1_i64, "events": 1_i64, "control": 1_i64 };
        doc! { "generations": generations, "sequence": sequence, "at": DateTime::now() }
    }

    #[test]
    fn a_mark_or_a_lease_or_a_due_time_moves_a_job_on() {
        assert_eq!(look(&job(doc! {})), Finding::MovedBy("outbox mark"));
        let check = || job(doc! { "next_action": "check", "announced": announced(5) });
        assert_eq!(look(&with_run(check(), doc! {})), Finding::MovedBy("lease"));
        assert_eq!(look(&check()), Finding::MovedBy("reconciler: acked, silent"));
    }

    #[test]
    fn a_scheduled_job_waits_for_its_time_and_the_ledger_does_not_know_it() {
        let scheduled = |but: Document| {
            let mut all =
                doc! { "status": "scheduled", "position": 0_i64, "epoch": 0, "next_action": "promote" };
            all.extend(but);
            job(all)
        };
        assert_eq!(look(&scheduled(doc! {})), Finding::MovedBy("its own time"));
        assert!(is_broken(&scheduled(doc! { "next_action_at": null })));
        assert!(is_broken(&scheduled(doc! { "next_action": "announce" })));
        assert!(is_broken(&scheduled(doc! { "status": "queued" })));
        assert!(is_broken(&with_run(scheduled(doc! {}), doc! { "status": "queued" })));
    }

    #[test]
    fn without_a_duty_or_a_due_time_it_is_broken() {
        assert!(is_broken(&job(doc! { "next_action": null })));
        assert!(is_broken(&job(doc! { "next_action_at": null })));
        assert!(is_broken(&with_run(job(doc! {}), doc! { "next_action_at": null })));
        assert!(is_broken(&with_run(job(doc! {}), doc! { "lease_until": null })));
    }

    #[test]
    fn a_run_without_a_due_time_needs_its_announcement() {
        let not_due = |job: Group| with_run(job, doc! { "next_action": null, "next_action_at": null });
        assert_eq!(look(&not_due(job(doc! {}))), Finding::MovedBy("outbox mark"));
        let waits = job(doc! { "next_action": "check", "announced": announced(11) });
        assert!(matches!(look(&not_due(waits)), Finding::IfAnnouncedAt(11, Some(_))));
        let acked = || job(doc! { "next_action": "check", "announced": announced(10) });
        assert!(is_broken(&not_due(acked())) && !is_broken(&with_run(acked(), doc! {})));
        let queued =
            with_run(job(doc! {}), doc! { "status": "queued", "next_action": null, "next_action_at": null });
        assert!(is_broken(&queued));
    }

    #[test]
    fn a_job_above_the_ack_floor_waits_or_is_announced_again() {
        let waits = job(doc! { "next_action": "check", "announced": announced(11) });
        assert_eq!(look(&waits), Finding::IfAnnouncedAt(11, None));
    }
}
