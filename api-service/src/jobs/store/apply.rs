//! Events into documents: [`shared_events::transition`] in the terms of filters.

use std::collections::HashMap;

use bson::{
    DateTime, Uuid, doc,
    raw::{CStr, cstr},
    rawdoc,
};
use futures::TryStreamExt;
use serde::Serialize;
use service_kit::{
    StoreError,
    mongo::{Change, DEADLINE, Durability, raw},
};
use shared_events::{
    AttemptSummary, CancelReason, JobError, JobEvent, JobId, JobRetrying, JobStarted, Position, Status,
    WorkerId,
};

use super::{
    super::document::{date, order, stored_id},
    JOBS, Jobs, TOMBSTONES,
};

/// What became of a batch of events.
#[derive(Debug, Default)]
pub struct Applied {
    /// Positions in the batch of events about jobs that are not known.
    pub unknown: Vec<usize>,
    /// Positions of events about jobs that stand where no job of this version does: what an event changes about such
    /// a job, a newer version knows.
    pub unreadable: Vec<usize>,
}

impl Jobs {
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
        // News that is not above what is stored changes nothing; news of no known job is put aside.
        let mut known = self.known(JOBS, events).await?;
        known.extend(self.known(TOMBSTONES, events).await?);
        let mut applied = Applied::default();
        for (index, event) in events.iter().enumerate() {
            match known.get(&stored_id(event.run_id().job)) {
                None => applied.unknown.push(index),
                Some(Known::Unreadable) => applied.unreadable.push(index),
                Some(Known::Readable) => {}
            }
        }
        Ok(applied)
    }

    async fn known(&self, collection: &str, events: &[JobEvent]) -> Result<HashMap<Uuid, Known>, StoreError> {
        let ids: Vec<Uuid> = events.iter().map(|event| stored_id(event.run_id().job)).collect();
        let jobs = self.mongo.collection::<bson::Document>(collection);
        let found: Vec<bson::Document> = self
            .mongo
            .run(async move {
                jobs.find(doc! { "_id": { "$in": ids } })
                    .projection(doc! { "_id": 1, "status": 1 })
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

/// Whether this version can tell where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Readable,
    Unreadable,
}

impl Known {
    /// A tombstone has no status.
    fn of(document: &bson::Document) -> Self {
        let is_known =
            |status: &bson::Bson| status.as_str().is_some_and(|status| status.parse::<Status>().is_ok());
        if document.get("status").is_none_or(is_known) { Self::Readable } else { Self::Unreadable }
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
struct News<'a> {
    status: Status,
    order: i64,
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
    error: Option<&'a JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<CancelReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<&'a [AttemptSummary]>,
}

/// The fields of everything that is due: an end clears them.
const MARK: &[&CStr] = &[cstr!("duty"), cstr!("due")];

/// The event as a conditional write: [`shared_events::transition`] in the terms of a filter.
fn change(event: &JobEvent) -> Result<Change, StoreError> {
    let (run_id, position) = (event.run_id(), event.position());
    let mut only_if = rawdoc! {
        "run": i64::from(run_id.run),
        "status": { "$in": [Status::Queued.as_str(), Status::Running.as_str()] },
    };
    if !position.status.is_terminal() {
        only_if.append(cstr!("order"), rawdoc! { "$lt": order(position) });
    }
    Ok(Change {
        id: bson::Binary::from(stored_id(run_id.job)).into(),
        only_if,
        set: raw(&news(event, position))?,
        unset: if position.status.is_terminal() { MARK } else { &[] },
        push: None,
    })
}

fn news(event: &JobEvent, position: Position) -> News<'_> {
    let blank = News {
        status: position.status,
        order: order(position),
        attempt: 0,
        worker: None,
        started_at: None,
        next_at: None,
        ended_at: None,
        result: None,
        error: None,
        reason: None,
        attempts: None,
    };
    match event {
        JobEvent::Started(JobStarted { attempt, worker, started_at, .. }) => {
            News { attempt: *attempt, worker: Some(worker), started_at: Some(date(*started_at)), ..blank }
        }
        JobEvent::Retrying(JobRetrying { attempt, next_at, attempts, .. }) => {
            let worker = attempts.last().map(|attempt| &attempt.worker);
            let started_at = attempts.last().map(|attempt| date(attempt.started_at));
            let next_at = Some(date(*next_at));
            News { attempt: *attempt, worker, started_at, next_at, attempts: Some(attempts), ..blank }
        }
        JobEvent::Ended(_, ended) => News {
            attempt: ended.attempt,
            worker: ended.attempts.last().map(|attempt| &attempt.worker),
            started_at: ended.started_at.map(date),
            ended_at: Some(date(ended.ended_at)),
            result: ended.result.as_ref().map(shared_events::JsonText::as_str),
            error: ended.error.as_ref(),
            reason: ended.reason,
            attempts: Some(&ended.attempts),
            ..blank
        },
    }
}
