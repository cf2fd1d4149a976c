//! Counting open jobs in the database.

use std::collections::HashMap;

use bson::{Document, Uuid, doc};
use futures::{TryStreamExt, future::try_join_all};
use mongodb::options::Hint;
use serde::Deserialize;
use service_kit::{Mongo, StoreError};
use shared_events::{Priority, Queue, Status};

use super::count::{COUNTED, Count};
use crate::jobs::{JOBS, OPEN_JOBS_INDEX};

/// Up to how many open jobs a queue may have for one command to count all of them.
const FEW: i64 = 1000;

/// The open jobs of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Those that wait for a worker.
    pub waiting: HashMap<Priority, Count>,
    /// Those that run.
    pub running: Count,
    /// Those whose time has not come.
    pub scheduled: Count,
    /// The first of those that wait.
    pub oldest: Option<Uuid>,
}

/// Counts open jobs. Copies share the database.
#[derive(Debug, Clone)]
pub(super) struct OpenJobs(pub(super) Mongo);

/// Jobs of a state and a priority.
#[derive(Debug, Deserialize)]
struct Group {
    #[serde(rename = "_id")]
    of: StateAndPriority,
    count: i64,
    first: Uuid,
}

#[derive(Debug, Deserialize)]
struct StateAndPriority {
    status: String,
    priority: Priority,
}

/// The states of a job that has not ended, as they are stored.
const QUEUED: &str = Status::Queued.as_str();
const RUNNING: &str = Status::Running.as_str();
const SCHEDULED: &str = Status::Scheduled.as_str();

impl OpenJobs {
    /// The queues with open jobs, in order of their names: the first `limit` behind `after`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn queues(&self, after: Option<&Queue>, limit: usize) -> Result<Vec<Queue>, StoreError> {
        let mut queues: Vec<Queue> = Vec::new();
        let mut behind = after.map(Queue::to_string);
        // From each name on to the next one: an index scan would look at all jobs.
        while queues.len() < limit {
            let Some(next) = self.next_queue(behind.as_deref()).await? else { break };
            queues.extend(next.parse::<Queue>());
            behind = Some(next);
        }
        Ok(queues)
    }

    async fn next_queue(&self, behind: Option<&str>) -> Result<Option<String>, StoreError> {
        let mut filter = doc! { "status": { "$in": [QUEUED, RUNNING, SCHEDULED] } };
        if let Some(behind) = behind {
            filter.insert("queue", doc! { "$gt": behind });
        }
        let jobs = self.0.collection::<Document>(JOBS);
        let found = self
            .0
            .run(async move {
                let first = jobs.find_one(filter).sort(doc! { "queue": 1 }).hint(hint());
                first.projection(doc! { "_id": 0, "queue": 1 }).await
            })
            .await?;
        Ok(found.and_then(|job| job.get_str("queue").ok().map(str::to_owned)))
    }

    /// The open jobs of a queue.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn of(&self, queue: &Queue) -> Result<Open, StoreError> {
        let groups = self.groups(queue).await?;
        if groups.iter().map(|group| group.count).sum::<i64>() <= FEW {
            return Ok(few(&groups));
        }
        self.many(queue).await
    }

    /// Up to one more than [`FEW`] open jobs of the queue, by state and priority.
    async fn groups(&self, queue: &Queue) -> Result<Vec<Group>, StoreError> {
        let pipeline = [
            doc! { "$match": { "queue": queue.as_str(), "status": { "$in": [QUEUED, RUNNING, SCHEDULED] } } },
            doc! { "$limit": FEW + 1 },
            doc! { "$group": {
                "_id": { "status": "$status", "priority": "$priority" },
                "count": { "$sum": 1_i64 },
                "first": { "$min": "$_id" },
            } },
        ];
        let jobs = self.0.collection::<Document>(JOBS);
        self.0
            .run(async move {
                jobs.aggregate(pipeline).hint(hint()).with_type::<Group>().await?.try_collect().await
            })
            .await
    }

    /// Each state and priority by itself.
    async fn many(&self, queue: &Queue) -> Result<Open, StoreError> {
        let by_priority = |status: &'static str| {
            Priority::ALL.map(|priority| async move {
                let of = doc! { "queue": queue.as_str(), "status": status, "priority": priority.as_str() };
                let oldest = if status == QUEUED { self.first(of.clone()).await? } else { None };
                Ok::<_, StoreError>((priority, self.count(of).await?, oldest))
            })
        };
        let (waiting, running, scheduled) = futures::try_join!(
            try_join_all(by_priority(QUEUED)),
            try_join_all(by_priority(RUNNING)),
            try_join_all(by_priority(SCHEDULED)),
        )?;
        let sum = |counts: Vec<(Priority, Count, Option<Uuid>)>| {
            let mut sum = Count::ZERO;
            counts.into_iter().for_each(|(_, count, _)| sum += count);
            sum
        };
        Ok(Open {
            oldest: waiting.iter().filter_map(|(_, _, oldest)| *oldest).min(),
            waiting: waiting.into_iter().map(|(priority, count, _)| (priority, count)).collect(),
            running: sum(running),
            scheduled: sum(scheduled),
        })
    }

    async fn count(&self, of: Document) -> Result<Count, StoreError> {
        let jobs = self.0.collection::<Document>(JOBS);
        let counted =
            self.0.run(async move { jobs.count_documents(of).limit(COUNTED + 1).hint(hint()).await }).await?;
        Ok(Count::of(counted))
    }

    async fn first(&self, of: Document) -> Result<Option<Uuid>, StoreError> {
        let jobs = self.0.collection::<Document>(JOBS);
        let found = self
            .0
            .run(async move {
                let first = jobs.find_one(of).sort(doc! { "_id": 1 }).hint(hint());
                first.projection(doc! { "_id": 1 }).await
            })
            .await?;
        Ok(found.and_then(|job| bson::deserialize_from_bson(job.get("_id")?.clone()).ok()))
    }
}

fn hint() -> Hint {
    Hint::Name(OPEN_JOBS_INDEX.to_owned())
}

fn few(groups: &[Group]) -> Open {
    let count = |status: &str, priority: Option<Priority>| {
        let alike = groups.iter().filter(|group| group.of.status == status);
        let alike = alike.filter(|group| priority.is_none_or(|priority| group.of.priority == priority));
        Count::of(alike.map(|group| u64::try_from(group.count).unwrap_or(0)).sum())
    };
    Open {
        waiting: Priority::ALL.map(|priority| (priority, count(QUEUED, Some(priority)))).into(),
        running: count(RUNNING, None),
        scheduled: count(SCHEDULED, None),
        oldest: groups.iter().filter(|group| group.of.status == QUEUED).map(|group| group.first).min(),
    }
}
