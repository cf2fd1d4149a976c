//! Invariant 5: nothing is left to do, and every end has its reason.

use api_service::jobs::Job;
use job_service::ledger::Run;
use shared_events::{AttemptOutcome, AttemptSummary, CancelReason, Status};

use super::{Case, Violation};
use crate::chaos::mix::{Act, Action, Script};
use crate::chaos::plan::{Fault, Link, Target};
use crate::chaos::programs;
use crate::chaos::record::{Changed, Client, Done, Record};

/// What is left over as a whole.
pub(super) fn check_all(record: &Record) -> Vec<Violation> {
    let left = record.left.iter().filter(|(_, left)| *left > 0);
    let left = left.map(|(name, left)| format!("{left} messages are left in {name}"));
    let broken = record.fsck.broken.iter().map(|(id, wrong)| format!("fsck: {id}: {wrong}"));
    let firings = record.fsck.broken_firings.iter().map(|(id, wrong)| format!("fsck: {id}: {wrong}"));
    let programs = record.programs.iter().map(|pid| format!("process {pid} of a program still runs"));
    let all = left.chain(broken).chain(firings).chain(programs).chain(record.not_idle.clone());
    all.map(|what| Violation { invariant: 5, job: None, what }).collect()
}

/// What is left over of a job, and why it ended as it did.
pub(super) fn check_job(case: &Case<'_>, record: &Record) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for job in case.job_runs().filter(|job| job.next_action.is_some() || job.next_action_at.is_some()) {
        wrong.push(case.wrong(5, format!("run {} still has the next_action {:?}", job.run, job.next_action)));
    }
    let asked_to_cancel = |number: u32| {
        let swept = || record.sweeps.iter().any(|sweep| sweep.action == Action::Cancel);
        case.client
            .is_none_or(|client| client.cancels.contains(&number) || client.script.is_swept() && swept())
    };
    // The ledger knows nothing of what was cancelled before its time.
    for job in case.job_runs().filter(|job| job.epoch == 0 && !asked_to_cancel(job.run)) {
        wrong.push(case.wrong(
            5,
            format!("run {} was cancelled while it was scheduled, and nobody asked for that", job.run),
        ));
    }
    if let Some(what) =
        case.client.zip(case.group.job.as_ref()).and_then(|(client, job)| changed(client, job))
    {
        wrong.push(case.wrong(5, what));
    }
    for run in &case.group.runs {
        if run.next_action.is_some() || run.next_action_at.is_some() {
            wrong.push(case.wrong(
                5,
                format!("run {} still has the next_action {:?} in the ledger", run.id.run, run.next_action),
            ));
        }
        let Some(client) = case.client else { continue };
        let asked = asked_to_cancel(run.id.run);
        if let Some(what) = unjustified(run, &client.script, asked, record) {
            wrong.push(case.wrong(5, format!("run {}: {what}", run.id.run)));
        }
    }
    wrong
}

/// A change that was carried out is there, and one that was refused is not.
fn changed(client: &Client, job: &Job) -> Option<String> {
    let change = client.script.delay?.change?;
    let (before, after, is) = (client.script.priority, change.priority, job.priority.as_str());
    let fits = match client.changed {
        Changed::No => is == before,
        Changed::Maybe => is == before || is == after,
        Changed::Yes => is == after,
    };
    (!fits).then(|| {
        format!("is of priority {is}; it was {before}, and its change to {after} was {:?}", client.changed)
    })
}

fn unjustified(run: &Run, script: &Script, cancel_asked: bool, record: &Record) -> Option<String> {
    let act = script.act(run.attempt);
    let code = run.error.as_ref().map_or("", |error| error.code.as_str());
    match run.status {
        Status::Finished if act == Act::Done => None,
        Status::Finished => Some(format!("is finished by attempt {}, which was to {act:?}", run.attempt)),
        Status::Failed => failed(run, script, code, record),
        Status::Cancelled if run.reason == Some(CancelReason::Timeout) => {
            let takes = script.pause_s + script.linger_s;
            let slow = act == Act::Hang || takes >= f64::from(script.timeout_s);
            (!slow).then(|| format!("attempt {} was to take {takes} s and is over its time", run.attempt))
        }
        Status::Cancelled if run.reason == Some(CancelReason::Expired) => {
            let may_expire = script.start_within_s.is_some() && run.attempt == 0;
            (!may_expire).then(|| format!("has expired after attempt {}", run.attempt))
        }
        Status::Cancelled => (!cancel_asked).then(|| "is cancelled, and nobody asked for that".into()),
        Status::Scheduled | Status::Queued | Status::Running => Some(format!("is {}", run.status)),
    }
}

fn failed(run: &Run, script: &Script, code: &str, record: &Record) -> Option<String> {
    let act = script.act(run.attempt);
    let as_planned = if script.is_program { programs::FAILURE } else { "planned" };
    let used_up = run.charged >= run.max_attempts;
    let planned = match act {
        Act::Fail => code == "planned",
        Act::Retry => code == as_planned && used_up,
        Act::Panic => (code == "panic" || code == "crashed") && used_up,
        Act::Abort => code == "crashed" && used_up,
        Act::Done | Act::Hang => false,
    };
    if planned {
        return None;
    }
    if code != "lease_lost" || !used_up {
        let (attempt, charged, most) = (run.attempt, run.charged, run.max_attempts);
        return Some(format!(
            "failed with {code} after attempt {attempt}, which was to {act:?}; charged {charged} of {most}"
        ));
    }
    let mut lost = run.attempts.iter().filter(|attempt| attempt.outcome == AttemptOutcome::Lost);
    lost.find(|attempt| !is_explained(attempt, record)).map(|attempt| {
        format!("failed as attempt {} lost its lease, and no fault explains that", attempt.attempt)
    })
}

/// Whether something was done to the worker, or to its way to the ledger, while the attempt was under way.
pub(in crate::chaos) fn is_explained(attempt: &AttemptSummary, record: &Record) -> bool {
    let before = i64::try_from((record.lease + record.recovery).as_millis()).unwrap_or(0);
    let (from, to) = (attempt.started_at.millis() - before, attempt.ended_at.millis());
    let pid = attempt.worker.as_str().rsplit('-').nth(1).and_then(|pid| pid.parse::<u32>().ok());
    let hits = |done: &Done| match done.fault {
        Fault::Kill(Target::JobMongo, _) | Fault::Pause(Target::JobMongo, _) => true,
        Fault::Kill(Target::Worker(_), _) | Fault::Pause(Target::Worker(_), _) => done.pid == pid,
        Fault::Cut(link) | Fault::CutBeforeReply(link, _) => link == Link::JobMongo,
        Fault::Stall(link, _) | Fault::BlackHole(link, _) => link == Link::JobMongo,
        _ => false,
    };
    record.done.iter().any(|done| done.from <= to && done.to >= from && hits(done))
        || record.exits.iter().any(|exit| Some(exit.pid) == pid && (from..=to).contains(&exit.at))
}

#[cfg(test)]
mod tests {
    use job_service::ledger::NextAction;
    use shared_events::{JobError, Status};

    use super::super::{check, sample::Sample};
    use crate::chaos::delays::{Change, Delay};
    use crate::chaos::mix::Act;
    use crate::chaos::record::Changed;

    #[test]
    fn a_mark_or_a_message_that_is_left_is_found() {
        let mut record = Sample::finished().record();
        Sample::run(&mut record).next_action = Some(NextAction::Announce);
        Sample::fails(&record, 5, "still has the next_action");
        let mut record = Sample::finished().record();
        record.left = vec![("JOBS".into(), 1)];
        Sample::fails(&record, 5, "left in JOBS");
        let mut record = Sample::finished().record();
        record.programs = vec![4711];
        Sample::fails(&record, 5, "process 4711");
        let mut record = Sample::finished().record();
        record.fsck.broken_firings = vec![("a.1".into(), "has fired twice".into())];
        Sample::fails(&record, 5, "has fired twice");
    }

    #[test]
    fn a_failure_that_nobody_planned_is_found() {
        let mut record = Sample::failed().record();
        assert_eq!(check(&record), []);
        record.clients[0].script.acts = vec![Act::Done];
        Sample::fails(&record, 5, "was to Done");
    }

    #[test]
    fn a_cancel_that_nobody_asked_for_is_found() {
        let mut record = Sample::cancelled_unclaimed().record();
        record.clients[0].cancels.clear();
        Sample::fails(&record, 5, "nobody asked");
    }

    #[test]
    fn a_run_that_expired_and_was_not_to_is_found() {
        let mut record = Sample::cancelled_unclaimed().record();
        Sample::run(&mut record).reason = Some(shared_events::CancelReason::Expired);
        record.groups.values_mut().for_each(|group| {
            group.job.as_mut().unwrap().reason = Some(shared_events::CancelReason::Expired);
        });
        record.clients[0].script.start_within_s = Some(1);
        assert_eq!(check(&record), []);
        record.clients[0].script.start_within_s = None;
        Sample::fails(&record, 5, "has expired");
    }

    #[test]
    fn a_cancel_before_its_time_that_nobody_asked_for_is_found() {
        let mut record = Sample::cancelled_unclaimed().record();
        record.groups.values_mut().for_each(|group| {
            group.runs.clear();
            group.job.as_mut().unwrap().epoch = 0;
        });
        record.history.clear();
        assert_eq!(check(&record), []);
        record.clients[0].cancels.clear();
        Sample::fails(&record, 5, "while it was scheduled, and nobody asked");
    }

    #[test]
    fn a_change_that_is_not_there_or_was_refused_and_is_there_is_found() {
        let mut record = Sample::finished().record();
        let (seconds, after_ms) = (1, 0);
        let change = Some(Change { after_ms, seconds, priority: "high" });
        record.clients[0].script.priority = "normal";
        record.clients[0].script.delay = Some(Delay { seconds, change });
        assert_eq!(check(&record), []);
        record.clients[0].changed = Changed::Yes;
        Sample::fails(&record, 5, "its change to high was Yes");
        record.groups.values_mut().for_each(|group| {
            group.job.as_mut().unwrap().priority = shared_events::Priority::High;
        });
        assert_eq!(check(&record), []);
        record.clients[0].changed = Changed::No;
        Sample::fails(&record, 5, "its change to high was No");
    }

    #[test]
    fn attempts_that_faults_used_up_are_justified_by_those_faults_alone() {
        let mut record = Sample::lost_for_good().record();
        assert_eq!(check(&record), []);
        record.done.clear();
        Sample::fails(&record, 5, "no fault explains");
    }

    #[test]
    fn a_wrong_error_is_found() {
        let mut record = Sample::failed().record();
        Sample::run(&mut record).error = Some(JobError::new("strange", ""));
        Sample::fails(&record, 5, "failed with strange");
    }

    #[test]
    fn a_finish_that_was_to_fail_is_found() {
        let mut record = Sample::finished().record();
        record.clients[0].script.acts = vec![Act::Fail];
        Sample::run(&mut record).status = Status::Finished;
        Sample::fails(&record, 5, "was to Fail");
    }
}
