//! Listing: newest first, in pages that look at a bounded number of jobs.

use bson::{Document, Uuid, doc};
use futures::TryStreamExt;
use service_kit::StoreError;

use super::{
    super::{Job, filter::PageRequest},
    JOBS, Jobs,
};

/// The most jobs that one page looks at, however few of them pass the filters.
const LOOKS_AT: u64 = 4_000;

/// A page.
#[derive(Debug)]
pub struct Page {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// The page goes on below this id; none at the end.
    pub next: Option<Uuid>,
}

impl Jobs {
    /// A page of the jobs that pass the request's filter and `also`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn page(&self, request: &PageRequest, also: Document) -> Result<Page, StoreError> {
        let mut bounds = request.filter.id_bounds(request.below);
        // Without filters every job that is looked at is one of the page.
        let selective = !request.filter.is_open() || !also.is_empty();
        let last_looked_at = if selective { self.id_at(bounds.clone(), LOOKS_AT - 1).await? } else { None };
        if let Some(last) = last_looked_at {
            bounds.insert("$gte", last);
        }
        let mut filter = request.filter.conditions();
        filter.extend(also);
        if !bounds.is_empty() {
            filter.insert("_id", bounds);
        }
        let jobs = self.mongo.collection::<Job>(JOBS);
        let size = request.size;
        let most = i64::try_from(size).unwrap_or(i64::MAX);
        let jobs: Vec<Job> = self
            .mongo
            .run(async move {
                jobs.find(filter)
                    .sort(doc! { "_id": -1 })
                    .limit(most)
                    .hint(by_id())
                    .await?
                    .try_collect()
                    .await
            })
            .await?;
        // A full page goes on after its last job; a short one where the looking ended.
        let next = if jobs.len() == size { jobs.last().map(|job| job.id) } else { last_looked_at };
        Ok(Page { jobs, next })
    }

    /// The id that many places below the upper bound; answered from the primary index alone.
    async fn id_at(&self, bounds: Document, place: u64) -> Result<Option<Uuid>, StoreError> {
        let filter = if bounds.is_empty() {
            Document::new()
        } else {
            doc! { "_id": bounds }
        };
        let jobs = self.mongo.collection::<Document>(JOBS);
        let found = self
            .mongo
            .run(async move {
                let ids = jobs.find(filter).sort(doc! { "_id": -1 }).skip(place).limit(1);
                ids.projection(doc! { "_id": 1 }).hint(by_id()).await?.try_next().await
            })
            .await?;
        Ok(found.and_then(|document: Document| match document.get("_id") {
            Some(bson::Bson::Binary(binary)) => binary.to_uuid().ok(),
            _ => None,
        }))
    }
}

fn by_id() -> mongodb::options::Hint {
    mongodb::options::Hint::Keys(doc! { "_id": 1 })
}
