//! A job, with or without a run in the ledger, as the services would have stored it, for tests.

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use shared_events::{JobId, streams};

use super::{BrokerView, ConsumerView, Finding, judge};
use crate::fsck::group::Group;
use crate::fsck::stored::stored_id;

/// What both services store about a job that was just created.
fn job_and_run() -> Document {
    doc! {
        "kind": "noop", "queue": "default", "priority": "normal", "timeout_s": 46, "max_attempts": 5,
        "created_at": DateTime::now(), "next_action_at": DateTime::now(),
    }
}

/// A queued job that is still to be announced, but for these fields.
pub(super) fn job(but: Document) -> Group {
    let id = JobId::generate();
    let mut job = job_and_run();
    job.extend(doc! {
        "_id": stored_id(id), "run": 1, "attempt": 0, "status": "queued", "position": 1_i64, "epoch": 1,
        "next_action": "announce", "of_a_newer_version": ObjectId::new(),
    });
    job.extend(but);
    let mut group = Group::new(id);
    group.job = Some(bson::deserialize_from_document(job).unwrap());
    group
}

/// With a run that is under way, but for these fields.
pub(super) fn with_run(mut group: Group, but: Document) -> Group {
    let mut run = job_and_run();
    run.extend(doc! {
        "_id": group.id.run(1).to_string(), "status": "running", "attempt": 1, "charged": 1, "next_action": "run",
        "lease_until": DateTime::now(),
    });
    run.extend(but);
    group.runs.push(bson::deserialize_from_document(run).unwrap());
    group
}

/// What is found where the announcements are acked up to sequence 10.
pub(super) fn look(group: &Group) -> Finding {
    let consumer = ConsumerView { ack_floor: 10, ..ConsumerView::default() };
    let consumers = [("workers-default-normal".to_owned(), consumer)].into();
    let broker = BrokerView { generation: 1, consumers, ..BrokerView::default() };
    judge(group, &broker, DateTime::now(), streams::RETENTION)
}

pub(super) fn is_broken(group: &Group) -> bool {
    matches!(look(group), Finding::Broken(_))
}
