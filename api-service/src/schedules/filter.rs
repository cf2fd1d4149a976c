//! The lists' filters and their page tokens.

use std::str::FromStr;

use bson::{DateTime, Document, Uuid, doc};
use shared_events::{Kind, Queue};
use utoipa::{IntoParams, ToSchema};

use super::{ScheduleId, firing::FiringStatus};
use crate::{
    http::read::{Both, Fields, Mistake, MistakeCode, Number, ReadFields, StringValue},
    idempotency::CanonicalObject,
};

/// What tokens start with: their version, which stands for their form and for what the fingerprint is made of.
const TOKEN_VERSION: &str = "v1-";

/// How many a page has at most.
type PageSize = Number<1, 1000>;

/// How a list is shown.
#[derive(Debug, Clone, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// How many a page has at most; a page of large schedules has fewer.
    #[param(inline, default = Shape::default_page_size)]
    page_size: PageSize,
    /// The `next_page_token` of the page before; good for the same filters only.
    #[param(value_type = Option<String>)]
    page_token: Option<PageToken>,
}

impl Shape {
    fn default_page_size() -> PageSize {
        PageSize::new::<50>()
    }
}

/// The token of a page: what tells its filter from others, and where it goes on. Empty that of the first one.
#[derive(Debug, Clone, PartialEq)]
struct PageToken(Option<(String, String)>);

/// The text is no token of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a token that this list gave out for these filters")]
struct BadToken;

impl StringValue for PageToken {}

impl FromStr for PageToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let (fingerprint, place) =
            text.strip_prefix(TOKEN_VERSION).and_then(|rest| rest.split_once('.')).ok_or(BadToken)?;
        let place =
            hex::decode(place).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(BadToken)?;
        Ok(Self(Some((fingerprint.to_owned(), place))))
    }
}

/// Which are listed.
pub(super) trait ListFilter: ReadFields + IntoParams {
    /// Where a page starts: behind this one.
    type After;

    /// What tells this filter from others.
    fn canonical(&self) -> CanonicalObject;

    /// The place that this text of a token names.
    fn after(text: &str) -> Option<Self::After>;

    /// The text of a place.
    fn place(after: &Self::After) -> String;

    /// The token of the page that goes on after this; good for this filter only.
    fn token(&self, after: &Self::After) -> String {
        format!("{TOKEN_VERSION}{}.{}", fingerprint(self.canonical()), hex::encode(Self::place(after)))
    }
}

fn fingerprint(filter: CanonicalObject) -> String {
    let [a, b, c, d, ..] = filter.sha256();
    hex::encode([a, b, c, d])
}

/// A list's query, read: which, from where on, and how many.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListQuery<F: ListFilter> {
    /// Which.
    pub(super) filter: F,
    /// The page before ended with this one.
    pub(super) after: Option<F::After>,
    /// How many at most.
    pub(super) size: usize,
}

impl<F: ListFilter> ReadFields for ListQuery<F> {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let Both(filter, Shape { page_size, page_token }) = Both::<F, Shape>::read(fields)?;
        let size = page_size.get() as usize;
        let Some(PageToken(Some((of, place)))) = page_token else {
            return Some(Self { filter, after: None, size });
        };
        let after = F::after(&place).filter(|_| of == fingerprint(filter.canonical()));
        if after.is_none() {
            fields.wrong("page_token", Mistake::new(MistakeCode::WrongFormat, BadToken.to_string()));
            return None;
        }
        Some(Self { filter, after, size })
    }
}

impl<F: ListFilter> IntoParams for ListQuery<F> {
    fn into_params(
        place: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        Both::<F, Shape>::into_params(place)
    }
}

/// Whether a schedule fires by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activity {
    /// It does.
    Active,
    /// It does not.
    Paused,
}

/// The text is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be active or paused")]
pub(super) struct BadActivity;

impl FromStr for Activity {
    type Err = BadActivity;

    fn from_str(text: &str) -> Result<Self, BadActivity> {
        match text {
            "active" => Ok(Self::Active),
            "paused" => Ok(Self::Paused),
            _ => Err(BadActivity),
        }
    }
}

impl StringValue for Activity {}

/// Which schedules; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Whose jobs are of this kind.
    kind: Option<Kind>,
    /// Whose jobs are sent to this queue.
    queue: Option<Queue>,
    /// Those that fire by themselves, or those that are paused.
    #[param(inline)]
    activity: Option<Activity>,
}

impl ListFilter for Filter {
    type After = ScheduleId;

    fn canonical(&self) -> CanonicalObject {
        let Self { kind, queue, activity } = self;
        let mut filters = CanonicalObject::default();
        filters.add("kind", kind, &None);
        filters.add("queue", queue, &None);
        filters.add("activity", activity, &None);
        filters
    }

    fn after(text: &str) -> Option<ScheduleId> {
        text.parse().ok()
    }

    fn place(after: &ScheduleId) -> String {
        after.to_string()
    }
}

impl Filter {
    /// What must hold of a document.
    pub(super) fn conditions(&self, after: Option<&ScheduleId>) -> Document {
        let id = after.map_or_else(|| doc! { "$exists": true }, |after| doc! { "$lt": after.as_str() });
        let mut conditions = doc! { "live_id": id };
        if let Some(kind) = &self.kind {
            conditions.insert("kind", kind.as_str());
        }
        if let Some(queue) = &self.queue {
            conditions.insert("queue", queue.as_str());
        }
        if let Some(activity) = self.activity {
            conditions.insert("paused", activity == Activity::Paused);
        }
        conditions
    }
}

/// Which firings of a schedule.
#[derive(Debug, Clone, Default, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FiringFilter {
    /// That stand so.
    #[param(inline)]
    status: Option<FiringStatus>,
}

impl ListFilter for FiringFilter {
    type After = (DateTime, String);

    fn canonical(&self) -> CanonicalObject {
        let mut filters = CanonicalObject::default();
        filters.add("status", &self.status, &None);
        filters
    }

    fn after(text: &str) -> Option<Self::After> {
        let (due_ms, id) = text.split_once(' ')?;
        Some((DateTime::from_millis(due_ms.parse().ok()?), id.to_owned()))
    }

    fn place((due_at, id): &Self::After) -> String {
        format!("{} {id}", due_at.timestamp_millis())
    }
}

impl FiringFilter {
    /// What must hold of a document.
    pub(super) fn conditions(&self, uid: Uuid, after: Option<&(DateTime, String)>) -> Document {
        let mut conditions = doc! { "uid": uid };
        if let Some(status) = self.status {
            conditions.insert("status", status.as_str());
        }
        if let Some((due_at, id)) = after {
            conditions.insert("due_at", doc! { "$lte": due_at });
            let beyond = doc! { "$or": [{ "due_at": { "$lt": due_at } }, { "_id": { "$lt": id } }] };
            conditions.insert("$and", vec![beyond]);
        }
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<F: ListFilter>(query: &str) -> Result<ListQuery<F>, Vec<String>> {
        let mut fields = Fields::of_query(query);
        let read = ListQuery::read(&mut fields);
        let (errors, ..) = fields.finish().into_parts();
        read.ok_or_else(|| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn a_token_goes_on_where_its_page_ended_and_is_good_for_its_filters_only() {
        let id: ScheduleId = "nightly".parse().unwrap();
        for query in ["", "kind=noop", "kind=noop&queue=mail&activity=paused"] {
            let token = read::<Filter>(query).unwrap().filter.token(&id);
            let next = read::<Filter>(&format!("{query}&page_token={token}")).unwrap();
            assert_eq!(next.after.as_ref(), Some(&id));
            let other = read::<Filter>(&format!("queue=other&page_token={token}"));
            assert_eq!(other.unwrap_err(), ["page_token"]);
        }
        let after = (DateTime::from_millis(5), "a.manual:b c".to_owned());
        let token = read::<FiringFilter>("status=missed").unwrap().filter.token(&after);
        let next = read::<FiringFilter>(&format!("status=missed&page_token={token}")).unwrap();
        assert_eq!(next.after, Some(after));
        for odd in ["x", "v1-", "v1-00", "v1-00.zz", "v1-00.ff", "v2-00.61"] {
            assert_eq!(read::<Filter>(&format!("page_token={odd}")).unwrap_err(), ["page_token"], "{odd}");
        }
    }
}
