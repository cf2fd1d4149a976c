//! Events into documents: [`shared_events::transition`] in the terms of filters.

use std::collections::HashMap;

use bson::{
    DateTime, RawDocumentBuf, Uuid, doc,
    raw::{CStr, cstr},
    rawdoc,
};
use futures::TryStreamExt;
use serde::Serialize;
use service_kit::{
    Mongo, StoreError,
    mongo::{Change, DEADLINE, Durability, raw},
};
use shared_events::{
    AttemptSummary, CancelReason, JobError, JobEvent, JobId, JobRetrying, JobStarted, JsonText, Position,
    Status, WorkerId,
};

use crate::jobs::{JOBS, date, may_be_gone, position, stored_id};

/// What became of a batch of events.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many were about jobs that are gone.
    pub gone: u64,
    /// The jobs of those that were about jobs which were never here.
    pub unknown: Vec<JobId>,
    /// Positions of events about jobs that stand where no job of this version does: what an event changes about such
    /// a job, a newer version knows.
    pub unreadable: Vec<usize>,
}

/// The documents of jobs, as far as their status is concerned. Copies share them.
#[derive(Debug, Clone)]
pub struct StatusStore {
    mongo: Mongo,
}

impl StatusStore {
    /// The jobs in this database.
    #[must_use]
    pub const fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }

    /// The database.
    #[must_use]
    pub const fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// Applies events in their order: each as a conditional write that says what the transition says.
    ///
    /// # Errors
    /// Where it is not known whether all were applied: apply them again.
    pub async fn apply(&self, events: &[JobEvent]) -> Result<Applied, StoreError> {
        let changes = latest(events).into_values().map(change).collect::<Result<Vec<_>, _>>()?;
        let all = changes.len() as u64;
        let mongo = self.mongo.clone();
        let update = async move { mongo.change(JOBS, changes, Durability::Journaled).await };
        if self.mongo.within(DEADLINE, update).await? == all {
            return Ok(Applied::default());
        }
        // What is not above what is stored changes nothing.
        let known = self.known(events).await?;
        let (now, mut applied) = (self.mongo.clock().now(), Applied::default());
        for (index, event) in events.iter().enumerate() {
            let job = event.run_id().job;
            match known.get(&stored_id(job)) {
                Some(Known::Readable) => {}
                Some(Known::Unreadable) => applied.unreadable.push(index),
                Some(Known::Gone) => applied.gone += 1,
                None if may_be_gone(job, now) => applied.gone += 1,
                None => applied.unknown.push(job),
            }
        }
        Ok(applied)
    }

    /// Of the events' jobs, those of which anything is stored.
    async fn known(&self, events: &[JobEvent]) -> Result<HashMap<Uuid, Known>, StoreError> {
        let ids: Vec<Uuid> = events.iter().map(|event| stored_id(event.run_id().job)).collect();
        let jobs = self.mongo.collection::<bson::Document>(JOBS);
        let found: Vec<bson::Document> = self
            .mongo
            .run(async move {
                jobs.find(doc! { "_id": { "$in": ids } })
                    .projection(doc! { "_id": 1, "status": 1, "gone_at": 1 })
                    .await?
                    .try_collect()
                    .await
            })
            .await?;
        let id = |document: &bson::Document| match document.get("_id") {
            Some(bson::Bson::Binary(binary)) => binary.to_uuid().ok(),
            _ => None,
        };
        Ok(found.iter().filter_map(|document| Some((id(document)?, Known::of(document)))).collect())
    }
}

/// What is stored under a job's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// A job, and this version can tell where it stands.
    Readable,
    /// A job, and this version can not.
    Unreadable,
    /// A stub.
    Gone,
}

impl Known {
    fn of(document: &bson::Document) -> Self {
        let status = document.get_str("status").ok().and_then(|status| status.parse::<Status>().ok());
        match status {
            Some(_) => Self::Readable,
            None if document.contains_key("gone_at") => Self::Gone,
            None => Self::Unreadable,
        }
    }
}

/// Of several events about one job, the one that counts in the end.
fn latest(events: &[JobEvent]) -> HashMap<JobId, &JobEvent> {
    let mut latest: HashMap<JobId, &JobEvent> = HashMap::with_capacity(events.len());
    for event in events {
        let job = event.run_id().job;
        let current = latest.entry(job).or_insert(event);
        if shared_events::transition(current.position(), event.position()).is_some() {
            *current = event;
        }
    }
    latest
}

/// What an event sets.
#[derive(Serialize)]
struct NewStatus<'a> {
    status: Status,
    position: i64,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CancelReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<&'a [AttemptSummary]>,
}

/// The fields of everything that is due: an end clears them.
const MARK: &[&CStr] = &[cstr!("next_action"), cstr!("next_action_at"), cstr!("expire_at")];

/// An earlier attempt's output.
const OUTPUT: &[&CStr] = &[cstr!("output")];

const MARK_AND_OUTPUT: &[&CStr] = &[cstr!("next_action"), cstr!("next_action_at"), cstr!("output")];

fn cleared(event: &JobEvent) -> &'static [&'static CStr] {
    match event {
        JobEvent::Ended(_, ended) if ended.result.is_some() => MARK_AND_OUTPUT,
        JobEvent::Ended(..) => MARK,
        JobEvent::Retrying(retrying) if retrying.output.is_none() => OUTPUT,
        JobEvent::Retrying(_) | JobEvent::Started(_) => &[],
    }
}

/// The event as a conditional write: [`shared_events::transition`] in the terms of a filter.
fn change(event: &JobEvent) -> Result<Change, StoreError> {
    let (run_id, at) = (event.run_id(), event.position());
    Ok(Change {
        id: bson::Binary::from(stored_id(run_id.job)).into(),
        only_if: below(at),
        set: raw(&new_status(event, at))?,
        unset: cleared(event),
        push: None,
    })
}

/// A filter of the documents that an event at this position changes.
fn below(at: Position) -> RawDocumentBuf {
    let [scheduled, queued, running] = Status::OPEN.map(Status::as_str);
    let mut below = rawdoc! {
        "run": i64::from(at.run),
        "status": { "$in": [scheduled, queued, running] },
    };
    if !at.status.is_terminal() {
        below.append(cstr!("position"), rawdoc! { "$lt": position(at) });
    }
    below
}

fn new_status(event: &JobEvent, at: Position) -> NewStatus<'_> {
    let blank = NewStatus {
        status: at.status,
        position: position(at),
        attempt: 0,
        worker: None,
        started_at: None,
        next_at: None,
        ended_at: None,
        result: None,
        output: None,
        error: None,
        reason: None,
        attempts: None,
    };
    match event {
        JobEvent::Started(JobStarted { attempt, worker, started_at, .. }) => NewStatus {
            attempt: *attempt,
            worker: Some(worker),
            started_at: Some(date(*started_at)),
            ..blank
        },
        JobEvent::Retrying(JobRetrying { attempt, next_at, output, attempts, .. }) => {
            let worker = attempts.last().map(|attempt| &attempt.worker);
            let started_at = attempts.last().map(|attempt| date(attempt.started_at));
            let next_at = Some(date(*next_at));
            let (output, attempts) = (output.as_ref().map(JsonText::as_str), Some(attempts.as_slice()));
            NewStatus { attempt: *attempt, worker, started_at, next_at, output, attempts, ..blank }
        }
        JobEvent::Ended(_, ended) => NewStatus {
            attempt: ended.attempt,
            worker: ended.attempts.last().map(|attempt| &attempt.worker),
            started_at: ended.started_at.map(date),
            ended_at: Some(date(ended.ended_at)),
            result: ended.result.as_ref().map(JsonText::as_str),
            error: ended.error.as_ref(),
            reason: ended.reason,
            attempts: Some(&ended.attempts),
            ..blank
        },
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document};
    use proptest::prelude::*;
    use shared_events::transition;

    use super::*;

    fn positions() -> impl Strategy<Value = Position> {
        (1..3_u32, 0..5_u32, 0..Status::ALL.len()).prop_map(|(run, attempt, status)| Position {
            run,
            attempt,
            status: Status::ALL[status],
        })
    }

    /// Whether a document passes a filter of equality, `$in` and `$lt`, as the database would say.
    fn passes(document: &Document, filter: &Document) -> bool {
        filter.iter().all(|(field, condition)| {
            let value = document.get(field).expect("the field is there");
            match condition {
                Bson::Document(operator) => operator.iter().all(|(name, operand)| match name.as_str() {
                    "$in" => operand.as_array().expect("a list").contains(value),
                    "$lt" => value.as_i64().expect("a number") < operand.as_i64().expect("a number"),
                    other => panic!("{other}"),
                }),
                equal => value == equal,
            }
        })
    }

    proptest! {
        /// The filter that is sent to the database says what the transition says. A later run is none of an event's:
        /// it is started by the api-service itself.
        #[test]
        fn the_filter_decides_as_the_transition_does(current in positions(), event in positions()) {
            let document = doc! {
                "run": i64::from(current.run),
                "status": current.status.as_str(),
                "position": position(current),
            };
            let filter: Document = bson::deserialize_from_slice(below(event).as_bytes()).unwrap();
            let changes = event.run == current.run && transition(current, event).is_some();
            prop_assert_eq!(passes(&document, &filter), changes);
        }
    }
}
