//! A user as the api-service keeps it.

use std::{fmt, str::FromStr};

use bson::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::profile::{Profile, ProfileChange};
use crate::{
    http::read::{Kept, StringValue},
    idempotency::{IdempotencyKey, KEY_KEPT},
};

/// The longest id, in characters.
const MAX_ID: usize = 64;

/// Ids that are paths of their own, or that no path can have.
const RESERVED: [&str; 3] = ["count", ".", ".."];

/// A user's id. New ones are UUIDs (version 7); an older system's client has chosen its own, such as `13AE742`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = r"^[^\s\u0000-\u001f\u007f-\u009f/\\%+?#]{1,64}$",
    example = "019ac1f2-6c00-7000-8000-000000000001")]
pub struct UserId(String);

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to {MAX_ID} characters without spaces, control characters and / \\ % + ? #, and not \"count\""
)]
pub struct BadUserId;

impl StringValue for UserId {}

impl FromStr for UserId {
    type Err = BadUserId;

    fn from_str(text: &str) -> Result<Self, BadUserId> {
        let is_odd = |char: char| {
            char.is_whitespace() || char.is_control() || matches!(char, '/' | '\\' | '%' | '+' | '?' | '#')
        };
        let is_fine = (1..=MAX_ID).contains(&text.chars().count())
            && !text.contains(is_odd)
            && !RESERVED.contains(&text);
        if is_fine { Ok(Self(text.to_owned())) } else { Err(BadUserId) }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl UserId {
    /// The id of a user that is new at `now`; within a millisecond, later ids are higher.
    #[must_use]
    pub fn new(now: DateTime) -> Self {
        Self(crate::jobs::new_id(now).to_uuid_1().to_string())
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    #[serde(rename = "_id")]
    pub id: UserId,
    /// What the user is called.
    pub name: String,
    /// The address as it was given.
    pub email: String,
    /// The same for addresses that differ in case only. Unique.
    pub email_key: String,
    /// The group that the user is in.
    pub group: u32,
    /// When it was created.
    pub created_at: DateTime,
    /// When it was changed last.
    pub updated_at: DateTime,
    /// Counts its states, from 1: a change is made to the state that it was made of, or not at all.
    pub version: i64,
    /// The client's `Idempotency-Key`, for as long as it is remembered. Unique, and outlives its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// SHA-256 of what was asked for under that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_hash: Option<String>,
    /// When the key was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_at: Option<DateTime>,
}

/// What stays of a user who is gone: the key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Stub {
    /// The user's id.
    #[serde(rename = "_id")]
    pub(super) id: UserId,
    /// SHA-256 of what was asked for under the key.
    pub(super) idempotency_hash: Option<String>,
    /// When the key was taken.
    pub(super) idempotency_at: Option<DateTime>,
}

/// Who has an idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KeyHolder {
    /// A user.
    User(Box<User>),
    /// One who is gone.
    Gone(Stub),
}

impl KeyHolder {
    pub(super) const fn id(&self) -> &UserId {
        match self {
            Self::User(user) => &user.id,
            Self::Gone(stub) => &stub.id,
        }
    }

    /// The hash of what was asked for under the key.
    pub(super) fn hash(&self) -> &str {
        let hash = match self {
            Self::User(user) => &user.idempotency_hash,
            Self::Gone(stub) => &stub.idempotency_hash,
        };
        hash.as_deref().unwrap_or_default()
    }

    /// Whether the key is remembered at `now`.
    pub(super) fn is_kept(&self, now: DateTime) -> bool {
        let at = match self {
            Self::User(user) => user.idempotency_at,
            Self::Gone(stub) => stub.idempotency_at,
        };
        at.is_some_and(|at| key_until(at) > now)
    }
}

/// Until when a key is remembered that was taken then.
fn key_until(at: DateTime) -> DateTime {
    DateTime::from_millis(at.timestamp_millis().saturating_add(service_kit::clock::millis(KEY_KEPT)))
}

impl User {
    /// A user that is new at `now`.
    pub(super) fn new(id: UserId, profile: Profile, key: Option<IdempotencyKey>, now: DateTime) -> Self {
        let hash = key.as_ref().map(|_| profile.request_hash());
        let Profile { name, email, group } = profile;
        Self {
            id,
            name: name.into_string(),
            email_key: email.key(),
            email: email.to_string(),
            group: group.get(),
            created_at: now,
            updated_at: now,
            version: 1,
            idempotency_at: key.as_ref().map(|_| now),
            idempotency_key: key.map(IdempotencyKey::into_text),
            idempotency_hash: hash,
        }
    }

    /// Until when its key is remembered; none where it has none, or that time is over at `now`.
    pub(super) fn key_until(&self, now: DateTime) -> Option<DateTime> {
        self.idempotency_at.map(key_until).filter(|until| *until > now)
    }

    /// The next state of the user, `now`; none where the change changes nothing.
    pub(super) fn changed(&self, change: &ProfileChange, now: DateTime) -> Option<Self> {
        let ProfileChange { name, email, group } = change;
        let mut next = self.clone();
        if let Some(Kept(name)) = name {
            next.name = (**name).to_owned();
        }
        if let Some(Kept(email)) = email {
            (next.email, next.email_key) = (email.to_string(), email.key());
        }
        if let Some(Kept(group)) = group {
            next.group = group.get();
        }
        if next == *self {
            return None;
        }
        next.version += 1;
        // Clocks of several replicas may differ.
        next.updated_at = now.max(self.updated_at);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    fn user() -> User {
        let profile = read_json_object(br#"{"name":"Ada","email":"Ada@example.org","group":7}"#).unwrap();
        User::new("13AE742".parse().unwrap(), profile, None, DateTime::from_millis(1000))
    }

    fn changed(json: &str, now: i64) -> Option<User> {
        user().changed(&read_json_object(json.as_bytes()).unwrap(), DateTime::from_millis(now))
    }

    #[test]
    fn an_id_is_any_short_text_that_a_path_can_have() {
        for text in ["13AE742", "a", "Zoë", "a.b", "...", "Count", "counts", "a:b@c", "{id}", &"x".repeat(64)]
        {
            assert_eq!(text.parse::<UserId>().map(|id| id.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "count",
            ".",
            "..",
            "a b",
            "a\tb",
            "a/b",
            "a%2Fb",
            "a+b",
            "a?",
            "#",
            "\u{85}",
            &"x".repeat(65),
        ] {
            assert_eq!(text.parse::<UserId>(), Err(BadUserId), "{text:?}");
        }
        assert!(UserId::new(DateTime::now()).as_str().parse::<UserId>().is_ok());
    }

    #[test]
    fn new_ids_sort_by_time() {
        let id = |millis| UserId::new(DateTime::from_millis(millis));
        assert!(id(1_800_000_000_000) < id(1_800_000_000_001));
    }

    #[test]
    fn a_change_is_the_next_state() {
        let next = changed(r#"{"name":"Ida"}"#, 2000).unwrap();
        let of = |user: &User| (user.name.clone(), user.email.clone(), user.group, user.version);
        assert_eq!(of(&next), ("Ida".to_owned(), "Ada@example.org".to_owned(), 7, 2));
        assert_eq!((next.created_at.timestamp_millis(), next.updated_at.timestamp_millis()), (1000, 2000));
        let next = changed(r#"{"email":"Ida@example.org","group":0}"#, 2000).unwrap();
        assert_eq!((next.email_key.as_str(), next.group), ("ida@example.org", 0));
    }

    #[test]
    fn a_change_that_changes_nothing_is_none() {
        assert_eq!(changed("{}", 2000), None);
        assert_eq!(changed(r#"{"name":"Ada","email":"Ada@example.org","group":7}"#, 2000), None);
        // The address is shown as it was given.
        assert!(changed(r#"{"email":"ada@example.org"}"#, 2000).is_some());
    }

    #[test]
    fn a_state_is_not_older_than_the_one_before() {
        assert_eq!(changed(r#"{"group":1}"#, 10).unwrap().updated_at.timestamp_millis(), 1000);
    }

    #[test]
    fn documents_are_read_with_and_without_a_key() {
        let mut user = user();
        for key in [None, Some("k")] {
            user.idempotency_key = key.map(str::to_owned);
            user.idempotency_at = key.map(|_| DateTime::from_millis(1000));
            let stored = bson::serialize_to_document(&user).unwrap();
            assert_eq!(stored.contains_key("idempotency_key"), key.is_some());
            assert_eq!(bson::deserialize_from_document::<User>(stored).unwrap(), user);
            let (before, after) = (DateTime::from_millis(86_400_999), DateTime::from_millis(86_401_000));
            assert_eq!((user.key_until(before).is_some(), user.key_until(after)), (key.is_some(), None));
        }
    }
}
