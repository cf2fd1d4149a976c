//! The list's filters and its page tokens.

use bson::{DateTime, Document, Uuid, doc};
use shared_events::{Kind, Queue, Status, Timestamp};

use super::{canonical::CanonicalObject, document::date, store::Load};
use crate::{
    http::Query,
    problem::{FieldError, Problem},
};

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
        format!("{TOKEN_VERSION}{}{}", hex(&id.bytes()), hex(&self.fingerprint()))
    }

    fn read_token(&self, token: &str) -> Result<Uuid, Problem> {
        let wrong = || {
            let message = "is not a token that this list gave out for these filters";
            Problem::bad_parameter(FieldError::new("page_token", message))
        };
        let token = token.strip_prefix(TOKEN_VERSION).ok_or_else(wrong)?;
        let (id, fingerprint) = token.split_at_checked(32).ok_or_else(wrong)?;
        if fingerprint != hex(&self.fingerprint()) || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let id = u128::from_str_radix(id, 16).map_err(|_| wrong())?;
        Ok(Uuid::from_bytes(id.to_be_bytes()))
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_read_in_full() {
        let page =
            PageRequest::read("status=queued,running&status=failed&queue=a&object_id=x%20y&page_size=7")
                .unwrap();
        assert_eq!(page.filter.status, [Status::Queued, Status::Running, Status::Failed]);
        assert_eq!(page.filter.object_id.as_deref(), Some("x y"));
        assert_eq!(page.size, 7);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, name) in [
            ("status=done", "status"),
            ("queue=Not+OK", "queue"),
            ("page_size=0", "page_size"),
            ("page_size=1001", "page_size"),
            ("created_after=yesterday", "created_after"),
            ("page_token=zz", "page_token"),
            ("colour=red", "colour"),
            ("queue=a&queue=b", "queue"),
            ("object_id=%ff", "object_id"),
        ] {
            let problem = PageRequest::read(query).unwrap_err();
            assert_eq!(problem.code(), "invalid_parameter");
            assert!(problem.to_string().contains(name), "{query}: {problem}");
        }
    }

    #[test]
    fn a_list_shows_what_is_asked_for() {
        let shown = |query| PageRequest::read_list(query).map(|(_, shown)| (shown.payload, shown.result));
        assert_eq!(shown("page_size=3").unwrap(), (false, false));
        assert_eq!(shown("fields=payload").unwrap(), (true, false));
        assert_eq!(shown("fields=result,payload").unwrap(), (true, true));
        for query in ["fields=", "fields=payload,secret", "fields=kind"] {
            assert!(shown(query).unwrap_err().to_string().contains("fields"), "{query}");
        }
        // Only lists have it.
        assert!(PageRequest::read("fields=payload").is_err());
    }

    #[test]
    fn a_token_is_good_for_its_filters_only() {
        let id = Uuid::from_bytes([7; 16]);
        let token = Filter::default().token(id);
        assert_eq!(PageRequest::read(&format!("page_token={token}")).unwrap().below, Some(id));
        assert!(PageRequest::read(&format!("queue=a&page_token={token}")).is_err());
    }

    /// Replicas of several versions read each other's: a value that changes here needs another [`TOKEN_VERSION`].
    #[test]
    fn tokens_are_what_they_always_were() {
        let token = |query: &str| PageRequest::read(query).unwrap().filter.token(Uuid::from_bytes([7; 16]));
        assert_eq!(token(""), "v1-0707070707070707070707070707070744136fa3");
        let all = "queue=a&kind=b&status=queued,failed&object_id=%C3%A9&created_after=2027-01-15T08:00:00Z&created_before=2027-01-16T08:00:00.5%2B01:00";
        assert_eq!(token(all), "v1-07070707070707070707070707070707acc35c36");
        assert_eq!(
            token(
                "status=failed&kind=b&queue=a&created_before=2027-01-16T07:00:00.500Z&created_after=2027-01-15T08:00:00.000Z&object_id=%c3%a9&status=queued,failed"
            ),
            token(all)
        );
        assert_ne!(token("queue=a"), token("kind=a"));
    }

    #[test]
    fn ids_of_a_millisecond_lie_between_its_bound_and_the_next() {
        let millis = 1_800_000_000_123;
        let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(1_800_000_000, 123_000_000, 0, 0));
        let id = Uuid::from_bytes(id.into_bytes());
        assert!(
            first_id(Timestamp::from_millis(millis)) <= id
                && id < first_id(Timestamp::from_millis(millis + 1))
        );
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in "\\PC{0,80}") {
            let _ = PageRequest::read(&query);
        }
    }
}
