//! What a schedule is called.

use std::{fmt, str::FromStr};

use bson::{DateTime, Uuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::read::StringValue;

/// The longest id, in characters.
const MAX_ID: usize = 64;

/// Ids that are paths of their own, or that no path can have.
const RESERVED: [&str; 3] = ["preview", ".", ".."];

/// A schedule's id: one that a client has chosen, such as `nightly-report`, or a UUID (version 7).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9._~-]{1,64}$", example = "nightly-report")]
pub struct ScheduleId(String);

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_ID} letters, digits, and . _ ~ -, and not \"preview\"")]
pub struct BadScheduleId;

impl StringValue for ScheduleId {}

impl FromStr for ScheduleId {
    type Err = BadScheduleId;

    fn from_str(text: &str) -> Result<Self, BadScheduleId> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
        let is_fine =
            (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_plain) && !RESERVED.contains(&text);
        if is_fine { Ok(Self(text.to_owned())) } else { Err(BadScheduleId) }
    }
}

/// A schedule's own id: another one of the same name has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uid(pub Uuid);

/// The text is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct BadUid;

impl StringValue for Uid {}

impl FromStr for Uid {
    type Err = BadUid;

    fn from_str(text: &str) -> Result<Self, BadUid> {
        Uuid::parse_str(text).map(Self).map_err(|_| BadUid)
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ScheduleId {
    /// The id of a schedule that is new at `now`; within a millisecond, later ids are higher.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_a_path_can_have_as_it_is() {
        for text in ["a", "nightly-report", "A.b_c~1", "...", "previews", &"x".repeat(64)] {
            assert_eq!(text.parse::<ScheduleId>().map(|id| id.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "preview", ".", "..", "a b", "a/b", "ä", "a%", &"x".repeat(65)] {
            assert_eq!(text.parse::<ScheduleId>(), Err(BadScheduleId), "{text:?}");
        }
        assert!(ScheduleId::new(DateTime::now()).as_str().parse::<ScheduleId>().is_ok());
    }
}
