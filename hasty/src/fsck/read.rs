//! Reading both databases: one job, all jobs side by side in the order of their ids, or all at once.

use std::collections::HashMap;

use anyhow::Result;
use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt;
use job_service::ledger::Run;
use mongodb::{Cursor, Database};
use shared_events::JobId;

use super::connections::Connections;
use super::group::{Group, JobOrStub};
use super::stored::{EarlierRun, Stored, decode, stored_id};

impl Connections {
    /// One job, as it is now.
    pub(super) async fn group(&self, id: JobId) -> Result<Group> {
        let of_job = doc! { "_id": stored_id(id) };
        let of_runs = doc! { "_id": { "$gte": format!("{id}."), "$lt": format!("{id}/") } };
        let mut group = Group::new(id);
        find::<JobOrStub>(&self.api, of_job).await?.into_iter().for_each(|stored| group.put(stored));
        let earlier = find::<EarlierRun>(&self.api, of_runs.clone()).await?;
        group.earlier = earlier.into_iter().map(|EarlierRun(job)| job).collect();
        group.runs = find(&self.ledger, of_runs).await?;
        Ok(group)
    }

    /// All jobs that either database knows, one after the other.
    pub(super) async fn groups(&self) -> Result<Groups> {
        Ok(Groups {
            jobs: Scan::open(&self.api).await?,
            earlier: Scan::open(&self.api).await?,
            runs: Scan::open(&self.ledger).await?,
        })
    }

    /// Every job of a small system at once, by id.
    ///
    /// # Errors
    /// Where a database does not answer, or a document is not readable.
    pub async fn all_groups(&self) -> Result<HashMap<JobId, Group>> {
        let mut groups: HashMap<JobId, Group> = HashMap::new();
        for stored in find::<JobOrStub>(&self.api, doc! {}).await? {
            of(&mut groups, stored.job_id()).put(stored);
        }
        for EarlierRun(job) in find(&self.api, doc! {}).await? {
            of(&mut groups, job.job_id()).earlier.push(job);
        }
        for run in find::<Run>(&self.ledger, doc! {}).await? {
            of(&mut groups, run.id.job).runs.push(run);
        }
        Ok(groups)
    }
}

fn of(groups: &mut HashMap<JobId, Group>, id: JobId) -> &mut Group {
    groups.entry(id).or_insert_with(|| Group::new(id))
}

async fn find<T: Stored>(database: &Database, filter: Document) -> Result<Vec<T>> {
    let mut cursor = database.collection::<RawDocumentBuf>(T::COLLECTION).find(filter).await?;
    let mut found = Vec::new();
    while let Some(document) = cursor.try_next().await? {
        found.push(decode(&document)?);
    }
    Ok(found)
}

/// See [`Connections::groups`]. Ids sort alike in all three collections.
pub(super) struct Groups {
    jobs: Scan<JobOrStub>,
    earlier: Scan<EarlierRun>,
    runs: Scan<Run>,
}

impl Groups {
    pub(super) async fn next(&mut self) -> Result<Option<Group>> {
        let heads = [self.jobs.head(), self.earlier.head(), self.runs.head()];
        let Some(id) = heads.into_iter().flatten().min() else { return Ok(None) };
        let mut group = Group::new(id);
        self.jobs.take(id).await?.into_iter().for_each(|stored| group.put(stored));
        group.earlier = self.earlier.take(id).await?.into_iter().map(|EarlierRun(job)| job).collect();
        group.runs = self.runs.take(id).await?;
        Ok(Some(group))
    }
}

/// One collection, read from its beginning to its end, without what makes documents large.
struct Scan<T> {
    cursor: Cursor<RawDocumentBuf>,
    next: Option<T>,
}

impl<T: Stored> Scan<T> {
    async fn open(database: &Database) -> Result<Self> {
        let collection = database.collection::<RawDocumentBuf>(T::COLLECTION);
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 });
        let cursor = documents.projection(doc! { "payload": 0, "result": 0 }).await?;
        let mut scan = Self { cursor, next: None };
        scan.next = scan.read().await?;
        Ok(scan)
    }

    async fn read(&mut self) -> Result<Option<T>> {
        let document = self.cursor.try_next().await?;
        document.map(|document| decode(&document)).transpose()
    }

    fn head(&self) -> Option<JobId> {
        self.next.as_ref().map(Stored::job_id)
    }

    /// All that belong to this job.
    async fn take(&mut self, id: JobId) -> Result<Vec<T>> {
        let mut taken = Vec::new();
        while self.head() == Some(id) {
            let next = self.read().await?;
            taken.extend(std::mem::replace(&mut self.next, next));
        }
        Ok(taken)
    }
}
