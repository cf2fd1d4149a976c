//! Listing: newest first, in pages that look at a bounded number of jobs.

use bson::{Bson, Document, Uuid, doc};
use futures::TryStreamExt;
use mongodb::options::{FindOptions, Hint};
use service_kit::{
    StoreError,
    mongo::{Fitting, Query, Read},
};

use super::{
    super::{Job, filter::PageRequest, model::LARGE},
    JOBS, Jobs,
    of_schedules::{SCHEDULE_FIELD, schedule_hint},
};

/// The most jobs, and stubs of jobs that are gone, that one page looks at, however few of them pass the filters.
const LOOKS_AT: u64 = 4_000;

/// How much of a page's jobs is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The fields that are not.
    without: &'static [&'static str],
    /// The page ends before it has more bytes than these, unless that would leave it empty.
    max_bytes: usize,
}

impl Load {
    /// What lists and bulk cancels look at: small, whatever the jobs are.
    pub const BRIEF: Self = Self { without: LARGE, max_bytes: usize::MAX };

    /// All of each job, for a few MiB of them.
    pub const WHOLE: Self = Self { without: &[], max_bytes: 4 << 20 };

    /// What a list shows that asks for these.
    #[must_use]
    pub const fn shown(payload: bool, result: bool) -> Self {
        let without: &[&str] = match (payload, result) {
            (false, false) => return Self::BRIEF,
            (true, false) => &["result", "output", "attempts"],
            (false, true) => &["payload", "output", "attempts"],
            (true, true) => &["output", "attempts"],
        };
        Self { without, max_bytes: 8 << 20 }
    }

    /// About how many bytes a page takes: those of its jobs, and as many again as the database sends them.
    #[must_use]
    pub const fn room(self) -> usize {
        if self.max_bytes == usize::MAX { 1 << 20 } else { 2 * self.max_bytes }
    }
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// How many more there are on this page that this version can not read.
    pub unreadable: usize,
    /// The page goes on below this id; none at the end.
    pub next: Option<Uuid>,
}

impl Page {
    fn of(read: Read<Job>, next: Option<Uuid>) -> Self {
        Self { unreadable: read.unreadable.len(), jobs: read.documents, next }
    }
}

impl Jobs {
    /// A page of the jobs that pass the request's filter and `also`, with as much of each as `load` says.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn page(&self, request: &PageRequest, also: Document, load: Load) -> Result<Page, StoreError> {
        let mut bounds = request.filter.id_bounds(request.below);
        // Jobs of a schedule have an index of their own.
        let schedule = request.filter.schedule.as_ref();
        let hint = schedule.map_or_else(by_id, |_| schedule_hint());
        let last_looked_at = self.id_at(request, bounds.clone(), LOOKS_AT - 1).await?;
        if let Some(last) = last_looked_at {
            bounds.insert("$gte", last);
        }
        let mut filter = request.filter.conditions();
        filter.extend(also);
        if !bounds.is_empty() {
            filter.insert("_id", bounds);
        }
        if load == Load::BRIEF {
            let read = self.newest(filter, request.size, load, hint).await?;
            // A full page goes on after its last job, readable or not; a short one where the looking ended.
            let is_full = read.looked_at() == request.size;
            let next = if is_full { read.last.as_ref().and_then(uuid) } else { last_looked_at };
            return Ok(Page::of(read, next));
        }
        let query = Query {
            filter: filter.clone(),
            sort: Some(doc! { "_id": -1 }),
            hint: Some(hint.clone()),
            without: load.without,
            most: request.size,
            max_bytes: load.max_bytes,
        };
        let Fitting { ids, cut } = self.mongo.fitting(JOBS, query).await?;
        let last = ids.last().and_then(uuid);
        let next = if cut || ids.len() == request.size { last } else { last_looked_at };
        // Changed since, they may not pass any more.
        filter.insert("_id", doc! { "$in": ids });
        Ok(Page::of(self.newest(filter, request.size, load, hint).await?, next))
    }

    async fn newest(
        &self,
        filter: Document,
        most: usize,
        load: Load,
        hint: Hint,
    ) -> Result<Read<Job>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let left_out: Document = load.without.iter().map(|field| ((*field).to_owned(), 0.into())).collect();
        let options = FindOptions::builder().projection(left_out).sort(doc! { "_id": -1 }).limit(most);
        self.mongo.read(JOBS, filter, options.hint(hint).build()).await
    }

    /// The id that many places below the upper bound, of the schedule's jobs where it is about one; answered from an
    /// index alone.
    async fn id_at(
        &self,
        request: &PageRequest,
        bounds: Document,
        place: u64,
    ) -> Result<Option<Uuid>, StoreError> {
        let mut filter = Document::new();
        if !bounds.is_empty() {
            filter.insert("_id", bounds);
        }
        let mut hint = by_id();
        if let Some(schedule) = &request.filter.schedule {
            filter.insert(SCHEDULE_FIELD, schedule.as_str());
            hint = schedule_hint();
        }
        let jobs = self.mongo.collection::<Document>(JOBS);
        let found = self
            .mongo
            .run(async move {
                let ids = jobs.find(filter).sort(doc! { "_id": -1 }).skip(place).limit(1);
                ids.projection(doc! { "_id": 1 }).hint(hint).await?.try_next().await
            })
            .await?;
        Ok(found.and_then(|document: Document| document.get("_id").and_then(uuid)))
    }
}

fn uuid(id: &Bson) -> Option<Uuid> {
    match id {
        Bson::Binary(binary) => binary.to_uuid().ok(),
        _ => None,
    }
}

fn by_id() -> Hint {
    mongodb::options::Hint::Keys(doc! { "_id": 1 })
}
