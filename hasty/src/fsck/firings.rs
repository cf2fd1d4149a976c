//! Schedules' firings against their jobs: each record that says so has its job, each job of a schedule has its record, and
//! what is not at its end has somebody who looks at it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use api_service::jobs::JOBS;
use api_service::schedules::{FIRINGS, Firing, FiringStatus, SCHEDULES};
use bson::{DateTime, Document, Uuid, doc};
use futures::TryStreamExt;

use super::connections::Connections;

/// How many are looked up together.
const BATCH: usize = 500;

/// For so long after a job's creation something is left under its id, whatever has become of it.
const ID_KEPT_MS: i64 = 86_400_000;

/// For so long at least a record is kept.
const RECORD_KEPT_MS: i64 = 60 * 86_400_000;

/// What was found about firings.
#[derive(Clone, Debug, Default)]
pub(super) struct Firings {
    /// How many records there are.
    pub(super) count: u64,
    /// How many are not at their end.
    pub(super) open: u64,
    /// Those that are wrong, by their ids.
    pub(super) broken: BTreeMap<String, String>,
}

/// A job of a schedule, as far as it matters here.
struct OfSchedule {
    id: Uuid,
    uid: Uuid,
    due_at: DateTime,
    created_at: DateTime,
}

impl OfSchedule {
    fn read(job: &Document) -> Result<Self> {
        let of = job.get_document("schedule")?;
        let uuid = |document: &Document, field: &str| -> Result<Uuid> {
            Ok(bson::deserialize_from_bson(document.get(field).cloned().unwrap_or_default())?)
        };
        Ok(Self {
            id: uuid(job, "_id")?,
            uid: uuid(of, "uid")?,
            due_at: *of.get_datetime("due_at")?,
            created_at: *job.get_datetime("created_at")?,
        })
    }
}

impl Connections {
    /// Looks at all firings, and at all jobs of schedules.
    pub(super) async fn firings(&self) -> Result<Firings> {
        let mut found = Firings::default();
        let all = self.api.collection::<Firing>(FIRINGS).find(doc! {}).await?;
        let mut batches = all.try_chunks(BATCH);
        while let Some(batch) = batches.try_next().await? {
            let jobs: Vec<Uuid> = batch.iter().filter_map(|firing| firing.job).collect();
            let there = self
                .api
                .collection::<Document>(JOBS)
                .distinct("_id", doc! { "_id": { "$in": jobs } })
                .await?;
            let there: BTreeSet<[u8; 16]> = there
                .into_iter()
                .filter_map(|id| bson::deserialize_from_bson::<Uuid>(id).ok())
                .map(Uuid::bytes)
                .collect();
            for firing in batch {
                found.count += 1;
                found.open += u64::from(is_open(&firing));
                let has_job = firing.job.is_some_and(|job| there.contains(&job.bytes()));
                if let Some(wrong) = judge(&firing, has_job, DateTime::now()) {
                    found.broken.insert(firing.id, wrong.to_owned());
                }
            }
        }
        self.jobs_without_records(&mut found).await?;
        Ok(found)
    }

    /// A second job of a firing is one that no record names.
    async fn jobs_without_records(&self, found: &mut Firings) -> Result<()> {
        let fields = doc! { "schedule": 1, "created_at": 1 };
        let of_schedules = doc! { "schedule.id": { "$exists": true } };
        let jobs = self.api.collection::<Document>(JOBS).find(of_schedules).projection(fields).await?;
        let mut batches = jobs.try_chunks(BATCH);
        while let Some(batch) = batches.try_next().await? {
            let jobs: Vec<OfSchedule> = batch.iter().map(OfSchedule::read).collect::<Result<_>>()?;
            let wanted: Vec<Document> =
                jobs.iter().map(|job| doc! { "uid": job.uid, "due_at": job.due_at, "job": job.id }).collect();
            let named =
                self.api.collection::<Document>(FIRINGS).distinct("job", doc! { "$or": wanted }).await?;
            let uids: Vec<Uuid> = jobs.iter().map(|job| job.uid).collect();
            let of_known = doc! { "_id": { "$in": uids } };
            let known = self.api.collection::<Document>(SCHEDULES).distinct("_id", of_known).await?;
            let old = DateTime::now().timestamp_millis() - RECORD_KEPT_MS;
            for job in jobs {
                let is_named = named.contains(&bson::Bson::from(job.id));
                // Of an export without schedules only the jobs are taken in.
                let is_of_known = known.contains(&bson::Bson::from(job.uid));
                if is_of_known && !is_named && job.created_at.timestamp_millis() > old {
                    let id = job.id.to_uuid_1().to_string();
                    found.broken.insert(id, "the job of a schedule that no firing's record names".to_owned());
                }
            }
        }
        Ok(())
    }
}

fn is_open(firing: &Firing) -> bool {
    matches!(firing.status, FiringStatus::Decided | FiringStatus::Waiting)
}

/// What is wrong with a firing; `has_job` says whether anything is under its job's id.
fn judge(firing: &Firing, has_job: bool, now: DateTime) -> Option<&'static str> {
    let is_recent = now.timestamp_millis() - firing.decided_at.timestamp_millis() < ID_KEPT_MS;
    match firing.status {
        FiringStatus::Decided | FiringStatus::Waiting if firing.look_at.is_none() => {
            Some("the firing is not at its end, and nobody is to look at it")
        }
        FiringStatus::Decided if firing.job.is_none() => Some("the firing is decided and has no job's id"),
        FiringStatus::Fired if firing.job.is_none() => Some("the firing has fired and names no job"),
        // One that was taken in may have had a job that was deleted before.
        FiringStatus::Fired if is_recent && !has_job && !firing.imported => {
            Some("the firing has fired, and there is nothing under its job's id")
        }
        FiringStatus::Skipped | FiringStatus::Missed if firing.job.is_some() => {
            Some("the firing has no job, and names one")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firing(status: &str, but: Document) -> Firing {
        let mut firing = doc! {
            "_id": "a.1", "uid": Uuid::new(), "schedule": "nightly", "due_at": DateTime::now(), "origin": "clock",
            "status": status, "decided_at": DateTime::now(), "until": DateTime::MAX,
        };
        firing.extend(but);
        bson::deserialize_from_document(firing).unwrap()
    }

    #[test]
    fn a_firing_is_held_against_its_job() {
        let (job, look) = (doc! { "job": Uuid::new() }, doc! { "look_at": DateTime::now() });
        let both = || {
            let mut both = job.clone();
            both.extend(look.clone());
            both
        };
        let long_ago = || {
            let mut old = job.clone();
            old.extend(doc! { "decided_at": DateTime::from_millis(0) });
            old
        };
        let imported = || {
            let mut imported = job.clone();
            imported.extend(doc! { "imported": true });
            imported
        };
        for (status, but, has_job, is_right) in [
            ("fired", job.clone(), true, true),
            ("fired", job.clone(), false, false),
            ("fired", long_ago(), false, true),
            ("fired", imported(), false, true),
            ("fired", doc! {}, false, false),
            ("decided", both(), false, true),
            ("decided", job.clone(), false, false),
            ("decided", look.clone(), false, false),
            ("waiting", look.clone(), false, true),
            ("waiting", doc! {}, false, false),
            ("skipped", doc! {}, false, true),
            ("missed", job.clone(), false, false),
        ] {
            let firing = firing(status, but);
            assert_eq!(judge(&firing, has_job, DateTime::now()).is_none(), is_right, "{firing:?} {has_job}");
        }
    }
}
