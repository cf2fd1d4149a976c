//! The records of firings.

use bson::{DateTime, Document, Uuid, doc, rawdoc};
use mongodb::options::FindOptions;
use service_kit::{
    StoreError,
    mongo::{Durability, Statement},
};

use super::{
    super::{
        filter::FiringFilter,
        firing::{Firing, FiringReason, FiringStatus, Origin},
        plan::Earlier,
    },
    ScheduleStore,
};

/// The records of firings.
pub const FIRINGS: &str = "firings";

/// How many of a schedule's latest firings are looked at for jobs that have not ended.
const LATEST: i64 = 20;

/// A page.
#[derive(Debug)]
pub(in super::super) struct FiringPage {
    /// The firings, the latest due first.
    pub(in super::super) firings: Vec<Firing>,
    /// How many more there are on this page that this version can not read.
    pub(in super::super) unreadable: usize,
    /// The page goes on after this one; none at the end.
    pub(in super::super) next: Option<(DateTime, String)>,
}

/// What is known of a schedule's earlier firings.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Recent {
    /// The jobs of the latest ones, which may have ended or not.
    pub(in super::super) jobs: Vec<Uuid>,
    /// As far as it is known without those jobs.
    pub(in super::super) earlier: Earlier,
}

impl ScheduleStore {
    /// Stores those records that nobody has stored yet; says of each whether it did.
    pub(in super::super) async fn insert_firings(&self, firings: &[Firing]) -> Result<Vec<bool>, StoreError> {
        if firings.is_empty() {
            return Ok(Vec::new());
        }
        self.prepare().await?;
        let inserted = self.mongo.insert_many(FIRINGS, firings).await?;
        let mut done = vec![true; firings.len()];
        for (index, _) in inserted.duplicates {
            done[index] = false;
        }
        match inserted.refused.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(done),
        }
    }

    /// The record with this id.
    pub(in super::super) async fn firing(&self, id: &str) -> Result<Option<Firing>, StoreError> {
        self.mongo.read_one(FIRINGS, doc! { "_id": id }).await
    }

    /// The first records that somebody must look at by now.
    pub(in super::super) async fn firings_to_look_at(
        &self,
        now: DateTime,
        most: i64,
    ) -> Result<Vec<Firing>, StoreError> {
        let due = self.mongo.passing_over_unreadable(FIRINGS, doc! { "look_at": { "$lte": now } });
        let options = FindOptions::builder().sort(doc! { "look_at": 1 }).limit(most).build();
        Ok(self.mongo.read(FIRINGS, due, options).await?.documents)
    }

    /// Notes that the jobs of these are there.
    pub(in super::super) async fn have_fired(&self, ids: &[&str]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let firings = self.mongo.collection::<Document>(FIRINGS);
        // Whatever was thought of it meanwhile: its job is there.
        let filter = doc! { "_id": { "$in": ids } };
        let update = doc! {
            "$set": { "status": FiringStatus::Fired.as_str(), "fired_at": self.now() },
            "$unset": { "look_at": "", "give_up_at": "", "reason": "" },
        };
        self.mongo.run(async move { firings.update_many(filter, update).await }).await.map(drop)
    }

    /// Notes that this one has no job and gets none, if it is still as it was read.
    pub(in super::super) async fn settle(
        &self,
        firing: &Firing,
        status: FiringStatus,
        reason: FiringReason,
    ) -> Result<(), StoreError> {
        let reason = bson::serialize_to_bson(&reason).unwrap_or_default();
        let update = doc! {
            "$set": { "status": status.as_str(), "reason": reason },
            "$unset": { "job": "", "look_at": "", "give_up_at": "" },
        };
        self.change_firing(firing, update).await.map(drop)
    }

    /// Decides that one without a job gets this one after all, if it is still as it was read; says whether it was.
    pub(in super::super) async fn decide_after_all(
        &self,
        firing: &Firing,
        decided: &Firing,
    ) -> Result<bool, StoreError> {
        let Firing { origin, job, decided_at, look_at, give_up_at, until, request_id, .. } = decided;
        let origin = bson::serialize_to_bson(origin).unwrap_or_default();
        let update = doc! {
            "$set": {
                "status": FiringStatus::Decided.as_str(),
                "origin": origin,
                "job": job,
                "decided_at": decided_at,
                "look_at": look_at,
                "give_up_at": give_up_at,
                "until": until,
                "request_id": request_id,
            },
            "$unset": { "reason": "", "seen": "", "missed_since": "" },
        };
        self.change_firing(firing, update).await
    }

    /// Has these looked at later, if they are still not at their end.
    pub(in super::super) async fn look_later(&self, ids: &[&str], at: DateTime) -> Result<(), StoreError> {
        let statement = |id: &&str| {
            let open = rawdoc! { "_id": *id, "look_at": { "$exists": true } };
            Statement::one(open, rawdoc! { "$set": { "look_at": at, "seen": true } })
        };
        if ids.is_empty() {
            return Ok(());
        }
        let statements = ids.iter().map(statement).collect();
        self.mongo.update(FIRINGS, statements, Durability::InMemory).await.map(drop)
    }

    async fn change_firing(&self, firing: &Firing, update: Document) -> Result<bool, StoreError> {
        let mut as_read = doc! { "_id": &firing.id, "status": firing.status.as_str() };
        as_read.insert("job", firing.job.map_or_else(|| doc! { "$exists": false }.into(), bson::Bson::from));
        let firings = self.mongo.collection::<Document>(FIRINGS);
        let done = self.mongo.run(async move { firings.update_one(as_read, update).await }).await?;
        Ok(done.matched_count == 1)
    }

    /// What is known of a schedule's firings but this one, or of those that were due before a moment; counts up to so many
    /// that fired.
    pub(in super::super) async fn recent(
        &self,
        uid: Uuid,
        but: &str,
        due_before: Option<DateTime>,
        count_up_to: Option<u32>,
    ) -> Result<Recent, StoreError> {
        let alive =
            [FiringStatus::Decided, FiringStatus::Fired, FiringStatus::Waiting].map(FiringStatus::as_str);
        let mut filter = doc! { "uid": uid, "status": { "$in": alive.to_vec() }, "_id": { "$ne": but } };
        if let Some(due_before) = due_before {
            filter.insert("due_at", doc! { "$lt": due_before });
        }
        let options = FindOptions::builder().sort(doc! { "due_at": -1, "_id": -1 }).limit(LATEST).build();
        let latest = self.mongo.read::<Firing>(FIRINGS, filter.clone(), options).await?.documents;
        let mut recent = Recent::default();
        for firing in &latest {
            match firing.status {
                FiringStatus::Waiting => recent.earlier.waits = true,
                FiringStatus::Decided => recent.earlier.is_open = true,
                _ => recent.jobs.extend(firing.job),
            }
        }
        let Some(up_to) = count_up_to else { return Ok(recent) };
        filter
            .insert("origin", doc! { "$ne": bson::serialize_to_bson(&Origin::Trigger).unwrap_or_default() });
        let firings = self.mongo.collection::<Document>(FIRINGS);
        let count = async move { firings.count_documents(filter).limit(up_to.into()).await };
        recent.earlier.fired = self.mongo.run(count).await?;
        Ok(recent)
    }

    /// A page of a schedule's firings.
    pub(in super::super) async fn firing_page(
        &self,
        uid: Uuid,
        filter: &FiringFilter,
        after: Option<&(DateTime, String)>,
        size: usize,
    ) -> Result<FiringPage, StoreError> {
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let options = FindOptions::builder().sort(doc! { "due_at": -1, "_id": -1 }).limit(limit).build();
        let read = self.mongo.read::<Firing>(FIRINGS, filter.conditions(uid, after), options).await?;
        let is_full = read.looked_at() == size;
        let next = read.documents.last().map(|last| (last.due_at, last.id.clone())).filter(|_| is_full);
        Ok(FiringPage { unreadable: read.unreadable.len(), next, firings: read.documents })
    }
}
