//! The list's filters, its order, and its page tokens.

use std::str::FromStr;

use bson::{Document, doc};
use utoipa::IntoParams;

use super::{
    User,
    profile::{Email, Group},
};
use crate::{
    http::read::{Both, Fields, Mistake, MistakeCode, Number, ReadFields, StringValue, Text},
    idempotency::CanonicalObject,
};

/// What tokens start with: their version, which stands for their form and for what the fingerprint is made of.
const TOKEN_VERSION: &str = "v1-";

/// The start of a name: 1 to 200 characters.
type NamePrefix = Text<1, 200>;

/// Which users; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// In this group.
    #[param(inline)]
    pub group: Option<Group>,
    /// With this email, in this or another case.
    #[param(inline)]
    pub email: Option<Email>,
    /// Whose name starts with this; case counts. Then the list is sorted by name.
    #[param(inline)]
    pub name_prefix: Option<NamePrefix>,
}

/// How many users a page has at most.
pub(super) type PageSize = Number<1, 1000>;

/// How a list shows its users.
#[derive(Debug, Clone, PartialEq, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shape {
    /// How many users a page has at most.
    #[param(inline, default = Shape::default_page_size)]
    pub(super) page_size: PageSize,
}

impl Shape {
    fn default_page_size() -> PageSize {
        PageSize::new::<50>()
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
struct PageToken(Option<(String, After)>);

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
        let mut parts = text.strip_prefix(TOKEN_VERSION).ok_or(BadToken)?.split('.');
        let (Some(fingerprint), Some(id), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadToken);
        };
        let text = |hex: &str| String::from_utf8(hex::decode(hex).ok()?).ok();
        let (id, name) = (text(id).ok_or(BadToken)?, text(name).ok_or(BadToken)?);
        Ok(Self(Some((fingerprint.to_owned(), After { id, name }))))
    }
}

impl StringValue for PageToken {}

/// The last user of the page before. The name counts in a list by name only.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub(super) struct After {
    #[serde(rename = "_id")]
    id: String,
    name: String,
}

impl After {
    /// The page goes on after this user.
    pub(super) fn of(user: &User) -> Self {
        Self { id: user.id.to_string(), name: user.name.clone() }
    }
}

/// The users that pass a filter, from a page's start on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filtered {
    /// Which users.
    pub(super) filter: Filter,
    /// The page before ended with this one.
    pub(super) after: Option<After>,
}

impl ReadFields for Filtered {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let Both(filter, TokenQuery { page_token }) = Both::<Filter, TokenQuery>::read(fields)?;
        let Some(PageToken(Some((fingerprint, after)))) = page_token else {
            return Some(Self { filter, after: None });
        };
        if fingerprint != filter.fingerprint() {
            fields.wrong("page_token", Mistake::new(MistakeCode::WrongFormat, BadToken.to_string()));
            return None;
        }
        Some(Self { filter, after: Some(after) })
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

impl Filter {
    /// The token of the page that goes on after this; good for this filter only.
    pub(super) fn token(&self, After { id, name }: &After) -> String {
        let name = if self.name_prefix.is_some() { name } else { "" };
        format!("{TOKEN_VERSION}{}.{}.{}", self.fingerprint(), hex::encode(id), hex::encode(name))
    }

    /// What tells this filter from others.
    fn fingerprint(&self) -> String {
        let Self { group, email, name_prefix } = self;
        let mut filters = CanonicalObject::default();
        filters.add("group", group, &None);
        filters.add("email", &email.as_ref().map(Email::key), &None);
        filters.add("name_prefix", &name_prefix.as_deref(), &None);
        let [a, b, c, d, ..] = filters.sha256();
        hex::encode([a, b, c, d])
    }

    /// What must hold of a document. An index answers each: what stays of a user who is gone has no group.
    pub(super) fn conditions(&self) -> Document {
        let mut conditions = Document::new();
        match &self.group {
            Some(group) => conditions.insert("group", i64::from(group.get())),
            None => conditions.insert("group", doc! { "$gte": 0 }),
        };
        if let Some(email) = &self.email {
            conditions.insert("email_key", email.key());
        }
        if let Some(prefix) = &self.name_prefix {
            let mut range = doc! { "$gte": &**prefix };
            if let Some(end) = after_all_with(prefix) {
                range.insert("$lt", end);
            }
            conditions.insert("name", range);
        }
        conditions
    }

    /// In which order the list is; both keys are in an index with the group before them.
    pub(super) fn order(&self) -> Document {
        if self.name_prefix.is_some() {
            doc! { "name": 1, "_id": 1 }
        } else {
            doc! { "_id": -1 }
        }
    }

    /// What else must hold of a document after that one.
    pub(super) fn beyond(&self, After { id, name }: &After) -> Document {
        if self.name_prefix.is_none() {
            return doc! { "_id": { "$lt": id } };
        }
        doc! { "$or": [{ "name": { "$gt": name } }, { "name": name, "_id": { "$gt": id } }] }
    }
}

/// The lowest text that is above all that start with `prefix`, as the database compares: by UTF-8, which is by code points.
/// None where there is none.
fn after_all_with(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // A step of a range of chars passes over what is none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filtered(query: &str) -> Result<Filtered, Vec<String>> {
        let mut fields = Fields::of_query(query);
        let read = Filtered::read(&mut fields);
        let (errors, ..) = fields.finish().into_parts();
        read.ok_or_else(|| errors.into_iter().map(|error| error.field).collect())
    }

    fn after() -> After {
        After { id: "13AE742".to_owned(), name: "Zoë.1".to_owned() }
    }

    #[test]
    fn a_token_goes_on_where_its_page_ended() {
        for query in ["", "group=7", "email=a@b.org", "name_prefix=Z", "name_prefix=Z&group=7"] {
            let token = filtered(query).unwrap().filter.token(&after());
            let next = filtered(&format!("{query}&page_token={token}")).unwrap();
            let name = if query.contains("name_prefix") { "Zoë.1" } else { "" };
            assert_eq!(
                next.after,
                Some(After { id: "13AE742".to_owned(), name: name.to_owned() }),
                "{query}"
            );
        }
    }

    #[test]
    fn a_token_is_good_for_its_filters_only() {
        let token = filtered("group=7").unwrap().filter.token(&after());
        for query in ["", "group=8", "group=7&name_prefix=a"] {
            assert_eq!(
                filtered(&format!("{query}&page_token={token}")),
                Err(vec!["page_token".to_owned()]),
                "{query}"
            );
        }
        for odd in ["x", "v1-", "v1-00", "v1-00.00", "v1-00.zz.", "v1-00.ff.", "v1-00.61.61.61", "v2-00.61."]
        {
            assert_eq!(filtered(&format!("page_token={odd}")), Err(vec!["page_token".to_owned()]), "{odd}");
        }
        assert_eq!(filtered("page_token=").unwrap(), Filtered::default());
    }

    /// Replicas of several versions compare these: a value that changes here needs another [`TOKEN_VERSION`].
    #[test]
    fn fingerprints_are_what_they_always_were() {
        let all = filtered("group=7&email=Ada@b.org&name_prefix=A").unwrap().filter.fingerprint();
        assert_eq!((Filter::default().fingerprint().as_str(), all.as_str()), ("44136fa3", "9fc154b4"));
    }

    proptest! {
        #[test]
        fn what_starts_with_a_prefix_is_in_its_range(prefix in "\\PC{1,4}", rest in "\\PC{0,4}", other in "\\PC{0,5}") {
            let end = after_all_with(&prefix);
            let is_in = |text: &str| text >= prefix.as_str() && end.as_deref().is_none_or(|end| text < end);
            let text = format!("{prefix}{rest}");
            prop_assert!(is_in(&text));
            prop_assert_eq!(is_in(&other), other.starts_with(&prefix));
        }
    }

    #[test]
    fn the_end_of_a_range_is_a_text() {
        assert_eq!(after_all_with("az").as_deref(), Some("a{"));
        assert_eq!(after_all_with("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(after_all_with("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_all_with("\u{10ffff}"), None);
    }
}
