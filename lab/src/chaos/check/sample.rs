//! Small records that are as they should be, which tests put violations into.

use std::time::Duration;

use api_service::jobs::OfSchedule;
use bson::{Bson, DateTime, Document, doc};
use hasty::fsck::Group;
use job_service::ledger::Run;
use shared_events::{AttemptOutcome, AttemptSummary, JobId, RunId, Status, Timestamp, WorkerId};

use super::check;
use crate::chaos::mix::{Act, scripts};
use crate::chaos::plan::{Fault, Target};
use crate::chaos::record::{Client, Created, Done, HistoryEvent, Record, ScheduleClient};
use crate::chaos::schedules::Schedule;

/// One job with one run.
pub(super) struct Sample {
    status: Status,
    acts: Vec<Act>,
    outcomes: Vec<AttemptOutcome>,
    more: Document,
}

impl Sample {
    fn new(status: Status, acts: &[Act], outcomes: &[AttemptOutcome], more: Document) -> Self {
        Self { status, acts: acts.to_vec(), outcomes: outcomes.to_vec(), more }
    }

    pub(super) fn finished() -> Self {
        Self::new(Status::Finished, &[Act::Done], &[AttemptOutcome::Finished], doc! {})
    }

    pub(super) fn retried() -> Self {
        let outcomes = [AttemptOutcome::Failed, AttemptOutcome::Finished];
        Self::new(Status::Finished, &[Act::Retry, Act::Done], &outcomes, doc! {})
    }

    pub(super) fn failed() -> Self {
        let error = doc! { "error": { "code": "planned", "message": "" } };
        Self::new(Status::Failed, &[Act::Fail], &[AttemptOutcome::Failed], error)
    }

    pub(super) fn lost_once() -> Self {
        let outcomes = [AttemptOutcome::Lost, AttemptOutcome::Finished];
        Self::new(Status::Finished, &[Act::Done], &outcomes, doc! {})
    }

    pub(super) fn lost_for_good() -> Self {
        let error = doc! { "error": { "code": "lease_lost", "message": "" }, "max_attempts": 2 };
        Self::new(Status::Failed, &[Act::Done], &[AttemptOutcome::Lost; 2], error)
    }

    pub(super) fn cancelled_unclaimed() -> Self {
        Self::new(Status::Cancelled, &[Act::Done], &[], doc! { "reason": "requested" })
    }

    pub(super) fn record(self) -> Record {
        let id = JobId::generate();
        let attempts = self.outcomes.len() as u32;
        let mut script = scripts(1, 1).remove(0);
        (script.acts, script.timeout_s) = (self.acts, 46);
        (script.queue, script.object, script.batch) = ("default", None, None);
        (script.delay, script.start_within_s) = (None, None);
        (script.is_program, script.filling) = (false, 0);
        let mut client = Client::new(script);
        client.created = Created::Yes(id);
        client.cancels.extend((self.status == Status::Cancelled).then_some(1));
        let reason = self.more.get("reason").cloned().unwrap_or(Bson::Null);
        let error = self.more.get("error").cloned().unwrap_or(Bson::Null);
        let both = doc! {
            "kind": "fault", "queue": "default", "priority": "normal", "timeout_s": 46, "max_attempts": 5,
            "created_at": DateTime::now(), "status": self.status.as_str(), "attempt": attempts,
        };
        let mut job = doc! {
            "_id": bson::Uuid::from_bytes(id.uuid().into_bytes()), "payload": "{\"tag\":0}", "run": 1,
            "position": i64::from(attempts) * 4 + i64::from(self.status.rank()), "epoch": 1,
            "reason": reason, "error": error,
        };
        job.extend(both.clone());
        let mut run = doc! { "_id": id.run(1).to_string(), "charged": attempts };
        run.extend(both);
        let lost = self.outcomes.iter().filter(|outcome| **outcome == AttemptOutcome::Lost).count();
        run.insert("lost", lost as i64);
        run.extend(self.more);
        let mut run: Run = bson::deserialize_from_document(run).unwrap();
        run.attempts =
            self.outcomes.iter().zip(1..).map(|(outcome, number)| summary(number, *outcome)).collect();
        let job = Some(bson::deserialize_from_document(job).unwrap());
        let group = Group { id, job, earlier: Vec::new(), runs: vec![run], has_stub: false };
        let killed = Fault::Kill(Target::Worker(0), Duration::ZERO);
        let mut record = Record {
            clients: vec![client],
            groups: [(id, group)].into(),
            done: vec![Done { from: 0, to: 0, fault: killed, pid: Some(7) }],
            ..Record::default()
        };
        for (outcome, number) in self.outcomes.iter().zip(1..) {
            Self::event(&mut record, "claimed", number, Some(Status::Running), None);
            Self::event(&mut record, "started", number, None, None);
            let status = match outcome {
                AttemptOutcome::Lost => continue,
                _ if number < attempts => Status::Queued,
                _ => self.status,
            };
            if *outcome == AttemptOutcome::Finished {
                Self::event(&mut record, "effect", number, None, None);
                record.history.last_mut().unwrap().first = Some(true);
                record.effects.insert(id.run(1));
            }
            Self::event(&mut record, "recorded", number, Some(status), Some(*outcome));
        }
        record
    }

    /// The same job, of a schedule that was due once, and of no client.
    pub(super) fn of_schedule(overlap: &'static str) -> Record {
        let mut record = Self::finished().record();
        let (uid, at) = (bson::Uuid::new(), Timestamp::from_millis(1000));
        let schedule = Schedule { number: 0, every_s: 1, overlap, pause_s: 0.0, triggers: Vec::new() };
        let (starts_at, ends_at, triggers, wrong) = (at, at, Vec::new(), Vec::new());
        record.schedules.push(ScheduleClient { schedule, uid, starts_at, ends_at, triggers, wrong });
        let job = record.groups.values_mut().next().unwrap().job.as_mut().unwrap();
        let due_at = DateTime::from_millis(1000);
        job.schedule = Some(OfSchedule { id: "chaos-0".into(), uid, due_at });
        let firing = doc! {
            "_id": "a.1000", "uid": uid, "schedule": "chaos-0", "due_at": due_at, "origin": "clock", "status": "fired",
            "job": job.id, "decided_at": due_at, "until": DateTime::MAX,
        };
        record.firings.push(bson::deserialize_from_document(firing).unwrap());
        record.clients.clear();
        record
    }

    /// Adds an event about the only run.
    pub(super) fn event(
        record: &mut Record,
        name: &str,
        attempt: u32,
        status: Option<Status>,
        outcome: Option<AttemptOutcome>,
    ) {
        let run = only_run(record);
        let (worker, name) = ("host-7-abc".to_owned(), name.to_owned());
        let first = (name == "effect").then_some(false);
        record.history.push(HistoryEvent { at: 0, worker, name, run, attempt, status, outcome, first });
    }

    pub(super) fn run(record: &mut Record) -> &mut Run {
        &mut record.groups.values_mut().next().unwrap().runs[0]
    }

    /// The record violates this invariant, with these words.
    pub(super) fn fails(record: &Record, invariant: usize, words: &str) {
        let found = check(record);
        let hit =
            |violation: &super::Violation| violation.invariant == invariant && violation.what.contains(words);
        assert!(found.iter().any(hit), "{invariant}, {words}: {found:#?}");
    }
}

fn only_run(record: &Record) -> RunId {
    record.groups.keys().next().unwrap().run(1)
}

fn summary(attempt: u32, outcome: AttemptOutcome) -> AttemptSummary {
    AttemptSummary {
        output: None,
        log: Vec::new(),
        attempt,
        worker: WorkerId::from("host-7-abc".to_owned()),
        started_at: Timestamp::from_millis(0),
        ended_at: Timestamp::from_millis(0),
        outcome,
        charged: outcome != AttemptOutcome::Released,
        error: None,
    }
}
