//! The list's filters and its page tokens.

use bson::{DateTime, Document, Uuid, doc};
use shared_events::{Kind, Queue, Status, Timestamp};

use super::{canonical::CanonicalObject, model::date, store::Load};
use crate::http::{FieldError, Problem, Query};

/// How many jobs a page has where the client does not say.
const PAGE_SIZE: usize = 50;

/// The most jobs of a page.
const MAX_PAGE_SIZE: usize = 1000;

/// What tokens start with: their version, which stands for their form and for what the fingerprint is made of.
const TOKEN_VERSION: &str = "v1-";

/// Which jobs; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// One of these states.
    pub status: Vec<Status>,
    /// This queue.
    pub queue: Option<Queue>,
    /// This kind.
    pub kind: Option<Kind>,
    /// This object.
    pub object_id: Option<String>,
    /// Created at or after.
    pub created_after: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
}

/// What a list shows of each job besides what all lists show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    payload: bool,
    result: bool,
}

impl Shown {
    fn read(values: &[String]) -> Result<Self, Problem> {
        let mut shown = Self::default();
        for name in values.iter().flat_map(|value| value.split(',')) {
            match name {
                "payload" => shown.payload = true,
                "result" => shown.result = true,
                _ => {
                    let message = format!("has payload and result, not {name:?}");
                    return Err(Problem::bad_parameter(FieldError::new("fields", message)));
                }
            }
        }
        Ok(shown)
    }

    /// What is read for that.
    #[must_use]
    pub const fn load(self) -> Load {
        Load::shown(self.payload, self.result)
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRequest {
    /// Of which jobs.
    pub filter: Filter,
    /// How many at most.
    pub size: usize,
    /// Only jobs with lower ids than this.
    pub below: Option<Uuid>,
}

impl PageRequest {
    /// Reads a query; `page_size` only where the route has it.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn read(query: &str) -> Result<Self, Problem> {
        Self::read_rest(Query::parse(query)?)
    }

    /// Reads a list's query, which also says what is shown of each job.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn read_list(query: &str) -> Result<(Self, Shown), Problem> {
        let mut query = Query::parse(query)?;
        let shown = Shown::read(&query.all("fields"))?;
        Ok((Self::read_rest(query)?, shown))
    }

    fn read_rest(mut query: Query) -> Result<Self, Problem> {
        let mut status = Vec::new();
        for text in query.all("status") {
            for part in text.split(',') {
                status.push(part.parse().map_err(|error: shared_events::status::BadStatus| {
                    Problem::bad_parameter(FieldError::new("status", error.to_string()))
                })?);
            }
        }
        let filter = Filter {
            status,
            queue: query.parsed("queue")?,
            kind: query.parsed("kind")?,
            object_id: query.one("object_id")?,
            created_after: query.parsed("created_after")?,
            created_before: query.parsed("created_before")?,
        };
        let size = query.number("page_size", 1..=MAX_PAGE_SIZE)?.unwrap_or(PAGE_SIZE);
        let below = query.one("page_token")?.filter(|token| !token.is_empty());
        let below = below.map(|token| filter.read_token(&token)).transpose()?;
        query.finish()?;
        Ok(Self { filter, size, below })
    }
}

impl Filter {
    /// The token of the page that goes on below `id`; good for this filter only.
    #[must_use]
    pub fn token(&self, id: Uuid) -> String {
        format!("{TOKEN_VERSION}{}{}", hex::encode(id.bytes()), hex::encode(self.fingerprint()))
    }

    fn read_token(&self, token: &str) -> Result<Uuid, Problem> {
        let wrong = || {
            let message = "is not a token that this list gave out for these filters";
            Problem::bad_parameter(FieldError::new("page_token", message))
        };
        let token = token.strip_prefix(TOKEN_VERSION).ok_or_else(wrong)?;
        let (id, fingerprint) = token.split_at_checked(32).ok_or_else(wrong)?;
        if fingerprint != hex::encode(self.fingerprint()) {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| wrong())?;
        Ok(Uuid::from_bytes(bytes))
    }

    /// What tells this filter from others: the same for the same filters, in whatever order they were given.
    fn fingerprint(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.canonical().sha256();
        [a, b, c, d]
    }

    fn canonical(&self) -> CanonicalObject {
        let Self { status, queue, kind, object_id, created_after, created_before } = self;
        let mut status: Vec<&str> = status.iter().map(|status| status.as_str()).collect();
        status.sort_unstable();
        status.dedup();
        let mut filters = CanonicalObject::default();
        filters.add("status", &status, &Vec::new());
        filters.add("queue", queue, &None);
        filters.add("kind", kind, &None);
        filters.add("object_id", object_id, &None);
        filters.add("created_after", created_after, &None);
        filters.add("created_before", created_before, &None);
        filters
    }

    /// The ids that can pass: they start with their job's time of creation, so a bound on time is
    /// one on the primary index.
    #[must_use]
    pub fn id_bounds(&self, below: Option<Uuid>) -> Document {
        let mut bounds = Document::new();
        let before = self.created_before.map(first_id);
        match (below, before) {
            (Some(below), Some(before)) => bounds.insert("$lt", below.min(before)),
            (Some(bound), None) | (None, Some(bound)) => bounds.insert("$lt", bound),
            (None, None) => None,
        };
        if let Some(after) = self.created_after {
            bounds.insert("$gte", first_id(after));
        }
        bounds
    }

    /// What else must hold of a document.
    #[must_use]
    pub fn conditions(&self) -> Document {
        let mut conditions = Document::new();
        if self.status.is_empty() {
            // A stub of a job that is gone has none.
            conditions.insert("status", doc! { "$exists": true });
        } else {
            let status: Vec<&str> = self.status.iter().map(|status| status.as_str()).collect();
            conditions.insert("status", doc! { "$in": status });
        }
        if let Some(queue) = &self.queue {
            conditions.insert("queue", queue.as_str());
        }
        if let Some(kind) = &self.kind {
            conditions.insert("kind", kind.as_str());
        }
        if let Some(object_id) = &self.object_id {
            conditions.insert("object_id", object_id);
        }
        let (after, before) = (self.created_after.map(date), self.created_before.map(date));
        let range: Document = [("$gte", after), ("$lt", before)]
            .into_iter()
            .filter_map(|(operator, date): (&str, Option<DateTime>)| {
                Some((operator.to_owned(), date?.into()))
            })
            .collect();
        if !range.is_empty() {
            conditions.insert("created_at", range);
        }
        conditions
    }
}

/// The lowest UUID v7 of that millisecond.
pub(super) fn first_id(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.millis().max(0)).unwrap_or(0);
    Uuid::from_bytes(((millis << 80) | (7 << 76)).to_be_bytes())
}

#[cfg(test)]
mod tests;
