//! Invariant 7: each due time of a schedule has one record and one job, or is skipped as its overlap has it; so has each
//! request by hand.

use std::collections::{BTreeSet, HashMap};

use api_service::schedules::{Firing, FiringReason, FiringStatus, Origin};
use bson::Uuid;
use shared_events::{CancelReason, JobId, Status};

use super::{Case, Violation};
use crate::chaos::record::{Record, ScheduleClient};

pub(super) fn check(record: &Record, cases: &[Case<'_>]) -> Vec<Violation> {
    let mut jobs: HashMap<Uuid, Vec<&Case<'_>>> = HashMap::new();
    for case in cases {
        if let Some(of) = case.group.job.as_ref().and_then(|job| job.schedule.as_ref()) {
            jobs.entry(of.uid).or_default().push(case);
        }
    }
    let mut wrong = Vec::new();
    for client in &record.schedules {
        let mut say = |what: String| {
            let what = format!("schedule {}: {what}", client.schedule.id());
            wrong.push(Violation { invariant: 7, job: None, what });
        };
        let firings: Vec<&Firing> = record.firings.iter().filter(|firing| firing.uid == client.uid).collect();
        due_times(client, &firings).into_iter().for_each(&mut say);
        firings.iter().filter_map(|firing| badly_ended(client, firing)).for_each(&mut say);
        by_hand(client, &firings).into_iter().for_each(&mut say);
        let jobs = jobs.get(&client.uid).map_or(&[][..], Vec::as_slice);
        have_jobs(client, &firings, jobs).into_iter().for_each(&mut say);
        client.wrong.iter().cloned().for_each(&mut say);
    }
    wrong
}

/// Every due time is decided, and no other.
fn due_times(client: &ScheduleClient, firings: &[&Firing]) -> Vec<String> {
    let step = i64::from(client.schedule.every_s) * 1000;
    let due: BTreeSet<i64> = (client.starts_at.millis()..=client.ends_at.millis())
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .collect();
    let of_clock = firings.iter().filter(|firing| firing.origin != Origin::Trigger);
    let mut decided = BTreeSet::new();
    let mut wrong = Vec::new();
    for at in of_clock.map(|firing| firing.due_at.timestamp_millis()) {
        if !decided.insert(at) {
            wrong.push(format!("the due time {at} is decided twice"));
        }
    }
    wrong.extend(due.difference(&decided).map(|at| format!("the due time {at} is not decided")));
    wrong.extend(decided.difference(&due).map(|at| format!("{at} is decided, and is no due time")));
    wrong
}

/// What a firing ended as, and was not to.
fn badly_ended(client: &ScheduleClient, firing: &Firing) -> Option<String> {
    let may_skip =
        ["skip", "queue_one"].contains(&client.schedule.overlap) && firing.origin != Origin::Trigger;
    let is_right = match firing.status {
        FiringStatus::Fired => true,
        FiringStatus::Skipped => may_skip && firing.reason == Some(FiringReason::Overlap),
        FiringStatus::Decided | FiringStatus::Waiting | FiringStatus::Missed => false,
    };
    (!is_right).then(|| format!("the firing {} is {:?}, {:?}", firing.id, firing.status, firing.reason))
}

/// Each request by hand has a firing of its own, and the job that it was answered with.
fn by_hand(client: &ScheduleClient, firings: &[&Firing]) -> Vec<String> {
    let mut wrong = Vec::new();
    let of_requests: Vec<&&Firing> =
        firings.iter().filter(|firing| firing.origin == Origin::Trigger).collect();
    for trigger in &client.triggers {
        let ends = format!("manual:{}", trigger.key);
        let there: Vec<_> = of_requests.iter().filter(|firing| firing.id.ends_with(&ends)).collect();
        let jobs: Vec<Option<JobId>> = there.iter().map(|firing| firing.job.map(job_id)).collect();
        let is_right = match trigger.answered {
            Some(job) => jobs == [Some(job)],
            None => jobs.len() <= 1,
        };
        if !is_right {
            wrong.push(format!("{trigger:?} led to the jobs {jobs:?}"));
        }
    }
    if of_requests.len() > client.triggers.len() {
        wrong.push(format!("{} requests by hand have {} firings", client.triggers.len(), of_requests.len()));
    }
    wrong
}

/// Each firing that has fired has its job, and each job its firing; nobody cancels them but a schedule that does so.
fn have_jobs(client: &ScheduleClient, firings: &[&Firing], jobs: &[&Case<'_>]) -> Vec<String> {
    let mut wrong = Vec::new();
    let wanted: BTreeSet<JobId> = firings.iter().filter_map(|firing| firing.job.map(job_id)).collect();
    let there: BTreeSet<JobId> = jobs.iter().map(|case| case.id).collect();
    wrong.extend(wanted.difference(&there).map(|job| format!("the job {job} of a firing is not there")));
    wrong.extend(there.difference(&wanted).map(|job| format!("no firing has the job {job}")));
    for job in jobs.iter().filter_map(|case| case.group.job.as_ref()) {
        let is_requested = job.status == Status::Cancelled && job.reason == Some(CancelReason::Requested);
        if is_requested && client.schedule.overlap != "cancel_previous" {
            wrong.push(format!("the job {} is cancelled, and nobody asked for that", job.job_id()));
        }
    }
    wrong
}

fn job_id(id: Uuid) -> JobId {
    JobId::from(uuid::Uuid::from_bytes(id.bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::{check, sample::Sample};
    use super::*;

    fn change(record: &mut Record, change: impl Fn(&mut Firing)) {
        record.firings.iter_mut().for_each(change);
    }

    #[test]
    fn a_due_time_that_is_not_decided_or_decided_twice_is_found() {
        let record = Sample::of_schedule("allow");
        assert_eq!(check(&record), []);
        let mut without = record;
        let firing = without.firings.pop().unwrap();
        Sample::fails(&without, 7, "is not decided");
        let mut twice = Sample::of_schedule("allow");
        twice.firings.push(Firing { uid: twice.schedules[0].uid, ..firing });
        Sample::fails(&twice, 7, "is decided twice");
        let mut other = Sample::of_schedule("allow");
        change(&mut other, |firing| firing.due_at = bson::DateTime::from_millis(1));
        Sample::fails(&other, 7, "is no due time");
    }

    #[test]
    fn a_firing_that_is_missed_or_skipped_for_nothing_is_found() {
        let mut record = Sample::of_schedule("allow");
        change(&mut record, |firing| firing.status = FiringStatus::Missed);
        Sample::fails(&record, 7, "is Missed");
        let skipped = |overlap| {
            let mut record = Sample::of_schedule(overlap);
            record.groups.clear();
            record.history.clear();
            change(&mut record, |firing| {
                (firing.status, firing.reason, firing.job) =
                    (FiringStatus::Skipped, Some(FiringReason::Overlap), None);
            });
            record
        };
        assert_eq!(check(&skipped("skip")), []);
        Sample::fails(&skipped("allow"), 7, "is Skipped");
    }

    #[test]
    fn a_firing_without_its_job_and_a_job_without_its_firing_are_found() {
        let mut record = Sample::of_schedule("allow");
        change(&mut record, |firing| firing.job = Some(Uuid::new()));
        Sample::fails(&record, 7, "of a firing is not there");
        Sample::fails(&record, 7, "no firing has the job");
    }

    #[test]
    fn a_cancel_that_no_schedule_asked_for_is_found() {
        let cancelled = |overlap| {
            let mut record = Sample::of_schedule(overlap);
            record.groups.values_mut().for_each(|group| {
                let job = group.job.as_mut().unwrap();
                (job.status, job.reason) = (Status::Cancelled, Some(CancelReason::Requested));
            });
            record
        };
        Sample::fails(&cancelled("allow"), 7, "is cancelled, and nobody asked");
        let found = check(&cancelled("cancel_previous"));
        assert!(found.iter().all(|violation| violation.invariant != 7), "{found:?}");
    }

    #[test]
    fn a_request_by_hand_that_made_two_jobs_or_another_is_found() {
        let triggered = |answered| {
            let mut record = Sample::of_schedule("allow");
            let trigger = crate::chaos::record::Trigger { key: "a".into(), answered };
            record.schedules[0].triggers.push(trigger);
            record
        };
        assert_eq!(check(&triggered(None)), []);
        Sample::fails(&triggered(Some(JobId::generate())), 7, "led to the jobs []");
        let mut record = Sample::of_schedule("allow");
        change(&mut record, |firing| firing.origin = Origin::Trigger);
        Sample::fails(&record, 7, "0 requests by hand have 1 firings");
    }
}
