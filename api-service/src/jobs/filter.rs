//! The list's filters and its page tokens.

use std::str::FromStr;

use bson::{DateTime, Document, Uuid, doc};
use shared_events::{Kind, Queue, Status, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::{
    model::date,
    new_job::ObjectId,
    store::{Load, SCHEDULE_FIELD},
};
use crate::http::read::{
    Both, CommaSeparated, Fields, Mistake, MistakeCode, Number, ReadFields, StringValue,
};
use crate::{idempotency::CanonicalObject, schedules::ScheduleId};

/// What tokens start with: their version, which stands for their form and for what the fingerprint is made of.
const TOKEN_VERSION: &str = "v1-";

/// Which jobs; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// One of these states, separated by commas.
    #[param(inline, style = Form, explode = false, min_items = 1, value_type = Option<Vec<Status>>)]
    pub status: Option<CommaSeparated<Status>>,
    /// This queue.
    pub queue: Option<Queue>,
    /// This kind.
    pub kind: Option<Kind>,
    /// This object.
    #[param(inline)]
    pub object_id: Option<ObjectId>,
    /// Created by this schedule.
    pub schedule: Option<ScheduleId>,
    /// Created at or after.
    pub created_after: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
}

/// What a list shows of each job only where it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LargeField {
    /// The handler's input.
    Payload,
    /// What the handler returned.
    Result,
}

/// The text names no field that a list leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be payload, result, or both")]
pub(super) struct BadField;

impl FromStr for LargeField {
    type Err = BadField;

    fn from_str(text: &str) -> Result<Self, BadField> {
        match text {
            "payload" => Ok(Self::Payload),
            "result" => Ok(Self::Result),
            _ => Err(BadField),
        }
    }
}

impl StringValue for LargeField {}

/// How many jobs a page has at most.
pub(super) type PageSize = Number<1, 1000>;

/// How a list shows its jobs.
#[derive(Debug, Clone, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// How many jobs a page has at most. It looks at no more than 4,000 jobs, so it may be shorter, even empty.
    #[param(inline, default = Shape::default_page_size)]
    pub page_size: PageSize,
    /// What is shown of each job besides, separated by commas; then a page also ends when its jobs have 8 MiB.
    #[param(inline, style = Form, explode = false, min_items = 1, value_type = Option<Vec<LargeField>>)]
    pub fields: Option<CommaSeparated<LargeField>>,
}

impl Shape {
    fn default_page_size() -> PageSize {
        PageSize::new::<50>()
    }

    /// What is read for that.
    #[must_use]
    pub(super) fn load(&self) -> Load {
        let has = |field| self.fields.as_ref().is_some_and(|fields| fields.0.contains(&field));
        Load::shown(has(LargeField::Payload), has(LargeField::Result))
    }
}

/// Where a page starts: the token of the page before.
#[derive(Debug, Clone, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
struct TokenQuery {
    /// The `next_page_token` of the page before; good for the same filters only.
    #[param(value_type = Option<String>)]
    page_token: Option<PageToken>,
}

/// The token of a page; empty that of the first one.
#[derive(Debug, Clone, PartialEq)]
struct PageToken(Option<(Uuid, String)>);

/// The text is no token of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a token that this list gave out for these filters")]
struct BadToken;

impl FromStr for PageToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let token = text.strip_prefix(TOKEN_VERSION).ok_or(BadToken)?;
        let (id, fingerprint) = token.split_at_checked(32).ok_or(BadToken)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| BadToken)?;
        Ok(Self(Some((Uuid::from_bytes(bytes), fingerprint.to_owned()))))
    }
}

impl StringValue for PageToken {}

/// The jobs that pass a filter, from a page's start on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filtered {
    /// Which jobs.
    pub filter: Filter,
    /// Only those with lower ids than this.
    pub below: Option<Uuid>,
}

impl ReadFields for Filtered {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let Both(filter, TokenQuery { page_token }) = Both::<Filter, TokenQuery>::read(fields)?;
        let Some(PageToken(Some((below, fingerprint)))) = page_token else {
            return Some(Self { filter, below: None });
        };
        if fingerprint != hex::encode(filter.fingerprint()) {
            fields.wrong("page_token", Mistake::new(MistakeCode::WrongFormat, BadToken.to_string()));
            return None;
        }
        Some(Self { filter, below: Some(below) })
    }
}

impl IntoParams for Filtered {
    fn into_params(
        place: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        Both::<Filter, TokenQuery>::into_params(place)
    }
}

/// A list's query.
pub(super) type ListQuery = Both<Filtered, Shape>;

/// A page of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRequest {
    /// Of which jobs.
    pub filter: Filter,
    /// How many at most.
    pub size: usize,
    /// Only jobs with lower ids than this.
    pub below: Option<Uuid>,
}

impl Filtered {
    /// A page of at most so many of them.
    #[must_use]
    pub(super) fn page(self, size: usize) -> PageRequest {
        PageRequest { filter: self.filter, size, below: self.below }
    }
}

impl Filter {
    /// The token of the page that goes on below `id`; good for this filter only.
    #[must_use]
    pub fn token(&self, id: Uuid) -> String {
        format!("{TOKEN_VERSION}{}{}", hex::encode(id.bytes()), hex::encode(self.fingerprint()))
    }

    /// What tells this filter from others: the same for the same filters, in whatever order they were given.
    fn fingerprint(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.canonical().sha256();
        [a, b, c, d]
    }

    fn canonical(&self) -> CanonicalObject {
        let Self { status, queue, kind, object_id, schedule, created_after, created_before } = self;
        let mut status: Vec<&str> =
            status.iter().flat_map(|status| &status.0).map(|status| status.as_str()).collect();
        status.sort_unstable();
        status.dedup();
        let mut filters = CanonicalObject::default();
        filters.add("status", &status, &Vec::new());
        filters.add("queue", queue, &None);
        filters.add("kind", kind, &None);
        filters.add("object_id", &object_id.as_deref(), &None);
        filters.add("schedule", schedule, &None);
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
        if let Some(CommaSeparated(status)) = &self.status {
            let status: Vec<&str> = status.iter().map(|status| status.as_str()).collect();
            conditions.insert("status", doc! { "$in": status });
        } else {
            // A stub of a job that is gone has none.
            conditions.insert("status", doc! { "$exists": true });
        }
        if let Some(queue) = &self.queue {
            conditions.insert("queue", queue.as_str());
        }
        if let Some(kind) = &self.kind {
            conditions.insert("kind", kind.as_str());
        }
        if let Some(object_id) = &self.object_id {
            conditions.insert("object_id", &**object_id);
        }
        if let Some(schedule) = &self.schedule {
            conditions.insert(SCHEDULE_FIELD, schedule.as_str());
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
