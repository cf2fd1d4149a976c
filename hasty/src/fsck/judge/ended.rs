//! Jobs that have ended: do both databases say the same, and may what is missing be missing?

use std::time::Duration;

use api_service::jobs::Job;
use bson::DateTime;
use job_service::ledger::Run;
use shared_events::{Status, streams};

use super::Finding;
use crate::fsck::group::Group;

/// Clocks differ, and what is over may go somewhat earlier than it seems.
const SLACK: Duration = Duration::from_secs(3600);

/// What of a job is left where the api-service does not have it.
pub(super) fn without_job(group: &Group, now: DateTime) -> Finding {
    if let Some(run) = group.runs.iter().find(|run| !run.status.is_terminal()) {
        let (run, status) = (run.id.run, run.status);
        return Finding::Broken(format!("run {run} is {status} in the ledger, and the job is not there"));
    }
    // A stub stays for as long as events about an end may come, then nothing does.
    let is_old = |run: &Run| run.ended_at.is_some_and(|at| is_older(at, streams::STALE_AFTER, now));
    if group.has_stub || group.runs.iter().all(is_old) {
        return Finding::Gone;
    }
    Finding::Broken("the ledger knows a job that the api-service does not".into())
}

/// Whether an earlier run that is not there may have been kept for its time: it ended when the ledger says, or, where that
/// has no record, at any time since the job's creation. Of a job that was taken in from elsewhere none was.
pub(super) fn is_over(
    job: &Job,
    earlier: u32,
    record: Option<&Run>,
    now: DateTime,
    retention: Duration,
) -> bool {
    if job.elsewhere.is_some_and(|elsewhere| earlier <= elsewhere) {
        return true;
    }
    let created_at = || {
        let created_at = job.job_id().uuid().get_timestamp()?.to_unix().0;
        Some(DateTime::from_millis(i64::try_from(created_at).ok()? * 1000))
    };
    let ended_at = record.map_or_else(created_at, |record| record.ended_at);
    ended_at.is_some_and(|at| is_older(at, retention, now))
}

/// Whether a date is so long ago, or nearly.
fn is_older(date: DateTime, age: Duration, now: DateTime) -> bool {
    let age = age.saturating_sub(SLACK.min(age / 10));
    let ago = now.timestamp_millis() - date.timestamp_millis();
    u64::try_from(ago).is_ok_and(|ago| Duration::from_millis(ago) >= age)
}

/// What is wrong with a run that has ended for the api-service.
pub(super) fn disagree(job: &Job, run: Option<&Run>, now: DateTime, retention: Duration) -> Option<String> {
    let Some(run) = run else {
        // It was taken in from elsewhere.
        if job.elsewhere.is_some_and(|elsewhere| job.run <= elsewhere) {
            return None;
        }
        // It was cancelled while it was scheduled: no worker has heard of it.
        if job.status == Status::Cancelled && job.epoch == 0 {
            return None;
        }
        let kept = streams::ledger_retention(retention);
        let is_old = job.ended_at.is_some_and(|at| is_older(at, kept, now));
        return (!is_old)
            .then(|| format!("run {} is {}, and the ledger does not know it", job.run, job.status));
    };
    if job.epoch == 0 {
        return Some(format!("run {} was never announced, and the ledger knows it", job.run));
    }
    if (job.status, job.attempt, job.reason) != (run.status, run.attempt, run.reason) {
        return Some(format!(
            "run {} is {} after attempt {}, and {} after attempt {} in the ledger",
            job.run, job.status, job.attempt, run.status, run.attempt
        ));
    }
    if job.error != run.error {
        return Some(format!(
            "run {} failed with {:?}, and with {:?} in the ledger",
            job.run, job.error, run.error
        ));
    }
    if job.next_action.is_some() && run.next_action.is_none() {
        return Some(format!(
            "run {} has ended and still has the next_action {:?}",
            job.run, job.next_action
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::sample::{is_broken, job, look, with_run};
    use super::*;
    use bson::{DateTime, doc};

    #[test]
    fn both_databases_have_to_agree_about_an_end() {
        let ended =
            || job(doc! { "status": "finished", "attempt": 1, "next_action": null, "next_action_at": null });
        assert!(is_broken(&ended()));
        assert!(is_broken(&with_run(ended(), doc! {})));
        assert!(is_broken(&with_run(ended(), doc! { "status": "failed" })));
        assert!(is_broken(&with_run(ended(), doc! { "status": "finished", "attempt": 2 })));
        let error = doc! { "status": "finished", "error": { "code": "strange", "message": "" } };
        assert!(is_broken(&with_run(ended(), error)));
        assert_eq!(look(&with_run(ended(), doc! { "status": "finished" })), Finding::Ended);
    }

    #[test]
    fn runs_of_elsewhere_are_not_missed() {
        let ended = |but| {
            let mut all =
                doc! { "status": "finished", "next_action": null, "next_action_at": null, "run": 3 };
            all.extend(but);
            job(all)
        };
        assert!(is_broken(&ended(doc! {})) && is_broken(&ended(doc! { "elsewhere": 2 })));
        assert_eq!(look(&ended(doc! { "elsewhere": 3 })), Finding::Ended);
        let waits = job(doc! { "run": 3, "elsewhere": 2 });
        assert_eq!(look(&waits), Finding::MovedBy("outbox mark"));
        assert!(is_broken(&job(doc! { "run": 3, "elsewhere": 1 })));
    }

    #[test]
    fn the_ledger_knows_nothing_of_a_job_that_was_cancelled_while_it_was_scheduled() {
        let cancelled = |status, epoch| {
            job(doc! { "status": status, "epoch": epoch, "next_action": null, "next_action_at": null })
        };
        assert_eq!(look(&cancelled("cancelled", 0)), Finding::Ended);
        assert!(is_broken(&cancelled("cancelled", 1)) && is_broken(&cancelled("finished", 0)));
        assert!(is_broken(&with_run(
            cancelled("cancelled", 0),
            doc! { "status": "cancelled", "attempt": 0 }
        )));
    }

    fn days_ago(days: i64) -> DateTime {
        DateTime::from_millis(DateTime::now().timestamp_millis() - days * 86_400_000)
    }

    #[test]
    fn a_run_without_its_job_is_broken_unless_the_job_is_gone() {
        let ended = |days| doc! { "status": "finished", "next_action": null, "next_action_at": null, "ended_at": days_ago(days) };
        let mut group = with_run(job(doc! {}), ended(1));
        group.job = None;
        assert!(is_broken(&group));
        group.has_stub = true;
        assert_eq!(look(&group), Finding::Gone);
        group.runs[0].status = Status::Running;
        assert!(is_broken(&group));
        // By then its stub is gone too.
        let mut old = with_run(job(doc! {}), ended(9));
        old.job = None;
        assert_eq!(look(&old), Finding::Gone);
    }

    #[test]
    fn what_was_kept_for_its_time_is_not_missed() {
        let ended = |days| {
            let ended_at = days_ago(days);
            job(
                doc! { "status": "finished", "attempt": 1, "next_action": null, "next_action_at": null, "ended_at": ended_at },
            )
        };
        assert!(is_broken(&ended(30)));
        assert_eq!(look(&ended(31)), Finding::Ended);

        let second = |days: i64, record: bool| {
            let mut group = ended(0);
            let seconds = days_ago(days).timestamp_millis() / 1000;
            let created_at = uuid::Timestamp::from_unix_time(u64::try_from(seconds).unwrap(), 0, 0, 0);
            let job = group.job.as_mut().unwrap();
            job.run = 2;
            job.id = bson::Uuid::from_bytes(uuid::Uuid::new_v7(created_at).into_bytes());
            let latest = doc! { "_id": group.id.run(2).to_string(), "status": "finished" };
            group = with_run(group, latest);
            if record {
                with_run(group, doc! { "status": "finished", "ended_at": days_ago(days) })
            } else {
                group
            }
        };
        for record in [false, true] {
            assert!(is_broken(&second(29, record)));
            assert_eq!(look(&second(31, record)), Finding::Ended);
        }
    }
}
