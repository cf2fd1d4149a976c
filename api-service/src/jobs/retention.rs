//! Ended jobs and earlier runs go when they were kept for long enough.

use std::time::Duration;

use bson::{Bson, DateTime, Document, Uuid};
use service_kit::{
    StoreError,
    retention::{self, DeadLetters, Rule, before},
};
use tokio_util::sync::CancellationToken;

use super::{
    Jobs,
    filter::first_id,
    model::timestamp,
    remains::Remains,
    store::{EARLIER_RUNS, JOBS, Kept},
};

/// Removes what is over. See [`service_kit::retention`].
#[derive(Clone)]
pub struct Retention {
    /// What it is removed from.
    pub jobs: Jobs,
    /// How long a run is kept after its end, and a message that could not be read.
    pub kept: Duration,
}

impl Retention {
    /// Removes what is over, again and again, until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        retention::run(self.kept, stop, || self.pass(stop)).await;
    }

    async fn pass(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mongo = self.jobs.mongo();
        // Earlier runs first: they ended before their job did, and nobody reaches them without it.
        retention::pass(mongo, &EarlierRuns(self), stop).await?;
        retention::pass(mongo, &EndedJobs(self), stop).await?;
        retention::pass(mongo, &DeadLetters { mongo: mongo.clone(), kept: self.kept }, stop).await
    }

    /// The lowest id of a job that is too young to have ended long enough ago.
    fn first_young(&self, now: DateTime) -> Uuid {
        first_id(timestamp(before(now, self.kept)))
    }
}

struct EndedJobs<'a>(&'a Retention);

impl Rule for EndedJobs<'_> {
    const COLLECTION: &'static str = JOBS;

    fn below(&self, now: DateTime) -> Bson {
        self.0.first_young(now).into()
    }

    fn fields(&self) -> &'static [&'static str] {
        Kept::FIELDS
    }

    async fn remove(&self, batch: Vec<Document>, now: DateTime) -> Result<u64, StoreError> {
        let (mut nothing, mut stubs) = (Vec::new(), Vec::new());
        for job in batch.into_iter().filter_map(Kept::read) {
            match job.remains(now, self.0.kept) {
                Remains::Job => {}
                Remains::Stub { until } => stubs.push((job, until)),
                Remains::Nothing => nothing.push(job),
            }
        }
        let jobs = &self.0.jobs;
        Ok(jobs.remove(&nothing).await? + jobs.bury(&stubs, now).await?)
    }
}

struct EarlierRuns<'a>(&'a Retention);

impl Rule for EarlierRuns<'_> {
    const COLLECTION: &'static str = EARLIER_RUNS;

    /// A run's id starts with its job's.
    fn below(&self, now: DateTime) -> Bson {
        self.0.first_young(now).to_string().into()
    }

    async fn remove(&self, batch: Vec<Document>, now: DateTime) -> Result<u64, StoreError> {
        self.0.jobs.remove_earlier_runs(&batch, before(now, self.0.kept)).await
    }
}

#[cfg(test)]
mod tests {
    use shared_events::Timestamp;

    use super::*;

    #[test]
    fn ids_of_runs_sort_as_their_jobs_do() {
        let id = |millis| first_id(Timestamp::from_millis(millis));
        assert!(format!("{}.1", id(1_799_999_999_999)) < id(1_800_000_000_000).to_string());
        assert!(id(1_800_000_000_000).to_string() < format!("{}.1", id(1_800_000_000_000)));
    }
}
