//! Whether a job has what will move it on, and whether both databases agree about it: a pure function of what was
//! read.

use std::collections::HashMap;
use std::time::Duration;

use bson::DateTime;
use shared_events::{Status, streams};

use super::documents::{Group, JobDoc, RunDoc};

/// Clocks differ, and what is over may go somewhat earlier than it seems.
const SLACK: Duration = Duration::from_secs(3600);

/// What the broker has, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokerView {
    /// The generation of `JOBS`, as the api-service counts them.
    pub(crate) generation: i64,
    /// Of each consumer of `JOBS`, by name.
    pub(crate) lines: HashMap<String, LineView>,
    /// Events that the api-service has not acked yet.
    pub(crate) events: u64,
    /// Cancels that no worker has acked yet.
    pub(crate) cancels: u64,
}

/// The consumer of one queue and priority.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineView {
    pub(crate) ack_floor: i64,
    pub(crate) waiting: u64,
    pub(crate) unacked: u64,
}

/// What was found about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
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
pub(crate) fn judge(group: &Group, broker: &BrokerView, now: DateTime, retention: Duration) -> Found {
    let Some(job) = &group.job else { return without_job(group, now) };
    let ledger: HashMap<u32, &RunDoc> = group.runs.iter().map(|run| (run.id.run, run)).collect();
    for earlier in group.earlier.iter().filter(|earlier| earlier.run < job.run) {
        if let Some(wrong) = disagree(earlier, ledger.get(&earlier.run).copied(), now, retention) {
            return Found::Broken(wrong);
        }
    }
    let is_missing = |run: &u32| {
        let is_kept = group.earlier.iter().any(|earlier| earlier.run == *run);
        !is_kept && !is_over(job, ledger.get(run).copied(), now, retention)
    };
    if let Some(missing) = (1..job.run).find(is_missing) {
        return Found::Broken(format!("run {missing} was replaced by a retry and is not kept"));
    }
    if let Some(run) = group.runs.iter().find(|run| run.id.run > job.run) {
        return Found::Broken(format!("the ledger knows run {}, the job is at run {}", run.id.run, job.run));
    }
    let run = ledger.get(&job.run).copied();
    if job.status.is_terminal() {
        return disagree(job, run, now, retention).map_or(Found::Ended, Found::Broken);
    }
    open(job, run, broker)
}

/// What of a job is left where the api-service does not have it.
fn without_job(group: &Group, now: DateTime) -> Found {
    if let Some(run) = group.runs.iter().find(|run| !run.status.is_terminal()) {
        let (run, status) = (run.id.run, run.status);
        return Found::Broken(format!("run {run} is {status} in the ledger, and the job is not there"));
    }
    // A stub stays for as long as events about an end may come, then nothing does.
    let is_old = |run: &RunDoc| run.ended_at.is_some_and(|at| is_older(at, streams::STALE_AFTER, now));
    if group.buried || group.runs.iter().all(is_old) {
        return Found::Gone;
    }
    Found::Broken("the ledger knows a job that the api-service does not".into())
}

/// Whether an earlier run that is not there may have been kept for its time: it ended when the ledger says, or, where that
/// has no record, at any time since the job's creation.
fn is_over(job: &JobDoc, record: Option<&RunDoc>, now: DateTime, retention: Duration) -> bool {
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
fn disagree(job: &JobDoc, run: Option<&RunDoc>, now: DateTime, retention: Duration) -> Option<String> {
    let Some(run) = run else {
        let kept = streams::ledger_retention(retention);
        let is_old = job.ended_at.is_some_and(|at| is_older(at, kept, now));
        return (!is_old)
            .then(|| format!("run {} is {}, and the ledger does not know it", job.run, job.status));
    };
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
    if job.duty.is_some() && run.duty.is_none() {
        return Some(format!("run {} has ended and still has the duty {:?}", job.run, job.duty));
    }
    None
}

/// What moves on a job that has not ended for the api-service.
fn open(job: &JobDoc, run: Option<&RunDoc>, broker: &BrokerView) -> Found {
    let (Some(duty), Some(_)) = (job.duty.as_deref(), job.due) else {
        return Found::Broken(format!("run {} is {} and has no duty with a due time", job.run, job.status));
    };
    let marked = ["announce", "await_room", "cancel"].contains(&duty);
    match run {
        Some(run) if !run.status.is_terminal() && !run.is_carried() => open_in_ledger(run),
        Some(run) if run.duty.as_deref() == Some("announce") && run.due.is_some() => {
            Found::MovedBy("end to be announced")
        }
        Some(run) if run.status.is_terminal() && broker.events > 0 => Found::MovedBy("event on its way"),
        _ if marked => Found::MovedBy("outbox mark"),
        _ => announced(job, run.is_some_and(RunDoc::is_carried), broker),
    }
}

fn open_in_ledger(run: &RunDoc) -> Found {
    let duty = run.duty.as_deref();
    if !matches!(duty, Some("run" | "announce_and_run")) || run.due.is_none() {
        let (number, status) = (run.id.run, run.status);
        return Found::Broken(format!(
            "run {number} is {status} in the ledger and has no duty with a due time"
        ));
    }
    match run.status {
        Status::Running if run.lease_until.is_none() => {
            Found::Broken(format!("run {} is running in the ledger and has no lease", run.id.run))
        }
        Status::Running => Found::MovedBy("lease"),
        _ => Found::MovedBy("retry's due time"),
    }
}

/// A job that was announced, and that the ledger does not know, or leaves to its announcement, which then must not be
/// acked, or has nothing more to say about.
fn announced(job: &JobDoc, is_carried: bool, broker: &BrokerView) -> Found {
    let Some(announced) = job.announced.filter(|announced| announced.generations.jobs == broker.generation)
    else {
        return Found::MovedBy("reconciler: announced to an earlier generation of JOBS");
    };
    let name = format!("workers-{}-{}", job.queue, job.priority);
    let line = broker.lines.get(&name).copied();
    let Ok(sequence @ 1..) = u64::try_from(announced.sequence) else {
        if broker.cancels > 0 {
            return Found::MovedBy("cancel on its way");
        }
        return Found::MovedBy("reconciler: cancel told, no answer yet");
    };
    match line {
        Some(line) if announced.sequence <= line.ack_floor && is_carried => Found::Broken(format!(
            "run {} is running, has no duty with a due time in the ledger, and its announcement is acked",
            job.run
        )),
        Some(line) if announced.sequence <= line.ack_floor => Found::MovedBy("reconciler: acked, silent"),
        Some(line) if line.waiting + line.unacked > 0 => Found::MovedBy("waiting in JOBS"),
        _ => Found::IfAnnouncedAt(
            sequence,
            is_carried.then(|| {
                format!(
                    "run {} is running, has no duty with a due time in the ledger, and its announcement is gone",
                    job.run
                )
            }),
        ),
    }
}

#[cfg(test)]
mod tests {
    use bson::{doc, oid::ObjectId};
    use shared_events::JobId;

    use super::super::documents::{JobKey, Stored};
    use super::*;

    fn job(more: bson::Document) -> Group {
        let id = JobId::generate();
        let mut job = doc! {
            "_id": bson::Uuid::from_bytes(id.uuid().into_bytes()), "queue": "default", "priority": "normal",
            "run": 1, "attempt": 0, "status": "queued", "duty": "announce", "due": DateTime::now(),
            "sweep": ObjectId::new(),
        };
        job.extend(more);
        let mut group = Group::empty(id);
        group.put(bson::deserialize_from_document(job).unwrap());
        group
    }

    fn announced(sequence: i64) -> bson::Document {
        doc! { "generations": { "jobs": 1_i64 }, "sequence": sequence }
    }

    fn with_run(mut group: Group, more: bson::Document) -> Group {
        let mut run = doc! {
            "_id": group.id.run(1).to_string(), "status": "running", "attempt": 1, "charged": 1,
            "max_attempts": 5, "duty": "run", "due": DateTime::now(), "lease_until": DateTime::now(),
        };
        run.extend(more);
        group.runs.push(bson::deserialize_from_document(run).unwrap());
        group
    }

    fn look(group: &Group) -> Found {
        let line = LineView { ack_floor: 10, ..LineView::default() };
        let lines = [("workers-default-normal".to_owned(), line)].into();
        let broker = BrokerView { generation: 1, lines, ..BrokerView::default() };
        judge(group, &broker, DateTime::now(), streams::RETENTION)
    }

    fn is_broken(group: &Group) -> bool {
        matches!(look(group), Found::Broken(_))
    }

    #[test]
    fn a_mark_or_a_lease_or_a_due_time_moves_a_job_on() {
        assert_eq!(look(&job(doc! {})), Found::MovedBy("outbox mark"));
        let check = || job(doc! { "duty": "check", "announced": announced(5) });
        assert_eq!(look(&with_run(check(), doc! {})), Found::MovedBy("lease"));
        assert_eq!(look(&check()), Found::MovedBy("reconciler: acked, silent"));
    }

    #[test]
    fn without_a_duty_or_a_due_time_it_is_broken() {
        assert!(is_broken(&job(doc! { "duty": null })));
        assert!(is_broken(&job(doc! { "due": null })));
        assert!(is_broken(&with_run(job(doc! {}), doc! { "due": null })));
        assert!(is_broken(&with_run(job(doc! {}), doc! { "lease_until": null })));
    }

    #[test]
    fn a_run_without_a_due_time_needs_its_announcement() {
        let carried = |job: Group| with_run(job, doc! { "duty": null, "due": null });
        assert_eq!(look(&carried(job(doc! {}))), Found::MovedBy("outbox mark"));
        let waits = job(doc! { "duty": "check", "announced": announced(11) });
        assert!(matches!(look(&carried(waits)), Found::IfAnnouncedAt(11, Some(_))));
        let acked = || job(doc! { "duty": "check", "announced": announced(10) });
        assert!(is_broken(&carried(acked())) && !is_broken(&with_run(acked(), doc! {})));
        let ended = with_run(job(doc! {}), doc! { "status": "queued", "duty": null, "due": null });
        assert!(is_broken(&ended));
    }

    #[test]
    fn a_job_above_the_ack_floor_waits_or_is_announced_again() {
        let waits = job(doc! { "duty": "check", "announced": announced(11) });
        assert_eq!(look(&waits), Found::IfAnnouncedAt(11, None));
    }

    #[test]
    fn both_databases_have_to_agree_about_an_end() {
        let ended = || job(doc! { "status": "finished", "attempt": 1, "duty": null, "due": null });
        assert!(is_broken(&ended()));
        assert!(is_broken(&with_run(ended(), doc! {})));
        assert!(is_broken(&with_run(ended(), doc! { "status": "failed" })));
        assert!(is_broken(&with_run(ended(), doc! { "status": "finished", "attempt": 2 })));
        let error = doc! { "status": "finished", "error": { "code": "strange", "message": "" } };
        assert!(is_broken(&with_run(ended(), error)));
        assert_eq!(look(&with_run(ended(), doc! { "status": "finished" })), Found::Ended);
    }

    fn days_ago(days: i64) -> DateTime {
        DateTime::from_millis(DateTime::now().timestamp_millis() - days * 86_400_000)
    }

    #[test]
    fn a_run_without_its_job_is_broken_unless_the_job_is_gone() {
        let ended =
            |days| doc! { "status": "finished", "duty": null, "due": null, "ended_at": days_ago(days) };
        let mut group = with_run(job(doc! {}), ended(1));
        group.job = None;
        assert!(is_broken(&group));
        group.buried = true;
        assert_eq!(look(&group), Found::Gone);
        group.runs[0].status = Status::Running;
        assert!(is_broken(&group));
        // By then its stub is gone too.
        let mut old = with_run(job(doc! {}), ended(9));
        old.job = None;
        assert_eq!(look(&old), Found::Gone);
    }

    #[test]
    fn what_was_kept_for_its_time_is_not_missed() {
        let ended = |days| {
            let ended_at = days_ago(days);
            job(doc! { "status": "finished", "attempt": 1, "duty": null, "due": null, "ended_at": ended_at })
        };
        assert!(is_broken(&ended(30)));
        assert_eq!(look(&ended(31)), Found::Ended);

        let second = |days: i64, record: bool| {
            let mut group = ended(0);
            let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(
                (days_ago(days).timestamp_millis() / 1000) as u64,
                0,
                0,
                0,
            ));
            let job = group.job.as_mut().unwrap();
            (job.run, job.id) = (2, JobKey::Job(bson::Uuid::from_bytes(id.into_bytes())));
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
            assert_eq!(look(&second(31, record)), Found::Ended);
        }
    }

    #[test]
    fn a_stub_is_told_from_a_job() {
        let id = bson::Uuid::new();
        let stub = doc! { "_id": id, "window": "a", "created_at": DateTime::now(), "gone_at": DateTime::now(), "until": DateTime::now() };
        assert!(matches!(bson::deserialize_from_document(stub), Ok(Stored::Stub { .. })));
    }
}
