//! States that have a name (RFC 9110, section 8.8.3): a client that has one already gets 304, and a change that is meant for
//! one is refused where another stands there by now.

use std::{convert::Infallible, str::FromStr};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderValue},
};
use bytes::Bytes;
use serde::Serialize;
use service_kit::Reservation;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use super::{
    answer,
    read::{ReadFields, StringValue},
};

/// Which states a client has already.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ConditionalHeader {
    /// Answers 304 without a body where the state has one of these tags, or has any for `*`.
    #[param(rename = "If-None-Match", value_type = Option<String>)]
    pub if_none_match: Option<Tags>,
}

/// Which state a client means.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfMatchHeader {
    /// Answers 412 unless the state has one of these tags, or there is one at all for `*`.
    #[param(rename = "If-Match", value_type = Option<String>)]
    pub if_match: Option<Tags>,
}

/// In which state something must be for a change to be made (RFC 9110, section 13.1).
#[derive(Debug, Clone, Default, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ChangeConditions {
    /// Changes nothing, and answers 412, unless the state has one of these tags, or there is one at all for `*`. A weakened
    /// tag (`W/"…"`), as a proxy that compresses makes of it, is as good.
    #[param(rename = "If-Match", value_type = Option<String>)]
    pub if_match: Option<Tags>,
    /// Changes nothing, and answers 412, where the state has one of these tags, or there is one at all for `*`.
    #[param(rename = "If-None-Match", value_type = Option<String>)]
    pub if_none_match: Option<Tags>,
}

impl ChangeConditions {
    /// Whether the change may be made to something whose state has this tag; none where there is nothing yet.
    #[must_use]
    pub fn hold(&self, current: Option<&Tag>) -> bool {
        let has = |tags: &Tags| current.is_some_and(|tag| tags.has(tag));
        self.if_match.as_ref().is_none_or(has) && !self.if_none_match.as_ref().is_some_and(has)
    }

    /// Whether it is asked for that there be nothing yet (`If-None-Match: *`).
    #[must_use]
    pub fn want_nothing_there(&self) -> bool {
        self.if_none_match.as_ref().is_some_and(Tags::are_any)
    }
}

/// The tags of `If-Match` or `If-None-Match` (RFC 9110, section 13.1). What can not be read matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(String);

impl FromStr for Tags {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl StringValue for Tags {
    const IS_LIST: bool = true;
}

impl Tags {
    /// By weak comparison: a proxy that compresses makes a tag weak. That is enough for changes too, since a tag of this
    /// service names a state, whichever bytes show it.
    #[must_use]
    pub fn has(&self, tag: &Tag) -> bool {
        let mut tags = self.0.split(',').map(str::trim);
        tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag.0)
    }

    fn are_any(&self) -> bool {
        self.0.split(',').any(|given| given.trim() == "*")
    }
}

/// The name of a state, in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// That of what is shown as this value: the half of its JSON's SHA-256.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Self {
        Self::of_text(&answer::piece(value))
    }

    fn of_text(text: &Bytes) -> Self {
        let hash = Sha256::digest(text);
        Self(format!("\"{}\"", hex::encode(&hash[..16])))
    }

    fn add_to(&self, answer: &mut HttpResponseBuilder) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            answer.insert_header((header::ETAG, value));
        }
    }
}

/// The value as JSON with its tag: the answer to a change.
pub fn json(answer: HttpResponseBuilder, value: &impl Serialize) -> HttpResponse {
    json_within(answer, value, None)
}

/// The same, in the room that was kept for it.
pub fn json_within(
    mut answer: HttpResponseBuilder,
    value: &impl Serialize,
    room: Option<Reservation>,
) -> HttpResponse {
    let piece = answer::piece(value);
    Tag::of_text(&piece).add_to(&mut answer);
    answer::json_bytes(answer, piece, room)
}

/// How to answer with a state that has a tag.
#[derive(Debug)]
pub struct Conditional(Option<Tags>);

impl Conditional {
    /// What the request asks for.
    #[must_use]
    pub fn of(header: ConditionalHeader) -> Self {
        Self(header.if_none_match)
    }

    /// The value as JSON with its tag; 304 where the client has it.
    pub fn json(
        self,
        mut answer: HttpResponseBuilder,
        value: &impl Serialize,
        room: Option<Reservation>,
    ) -> HttpResponse {
        let piece = answer::piece(value);
        let tag = Tag::of_text(&piece);
        // It may be kept, but not used without asking.
        answer.insert_header((header::CACHE_CONTROL, "private, no-cache"));
        tag.add_to(&mut answer);
        if self.0.is_some_and(|tags| tags.has(&tag)) {
            return answer.status(actix_web::http::StatusCode::NOT_MODIFIED).finish();
        }
        answer::json_bytes(answer, piece, room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Tags {
        let Ok(tags) = text.parse::<Tags>();
        tags
    }

    fn tag(text: &str) -> Tag {
        Tag(format!("\"{text}\""))
    }

    #[test]
    fn tags_are_compared_weakly() {
        for text in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\"", "*"] {
            assert!(tags(text).has(&tag("a")), "{text}");
        }
        for text in ["", "a", "\"b\"", "\"a\"x", "W/a", "w/\"a\""] {
            assert!(!tags(text).has(&tag("a")), "{text}");
        }
    }

    #[test]
    fn a_change_is_made_to_the_state_that_it_is_meant_for() {
        let a = tag("a");
        for (if_match, if_none_match, of_a, of_nothing) in [
            (None, None, true, true),
            (Some("\"a\""), None, true, false),
            (Some("W/\"a\""), None, true, false),
            (Some("\"b\""), None, false, false),
            (Some("*"), None, true, false),
            (None, Some("*"), false, true),
            (None, Some("\"a\""), false, true),
            (None, Some("\"b\""), true, true),
            (Some("\"a\""), Some("\"b\""), true, false),
            (Some("*"), Some("*"), false, false),
        ] {
            let conditions =
                ChangeConditions { if_match: if_match.map(tags), if_none_match: if_none_match.map(tags) };
            assert_eq!(conditions.hold(Some(&a)), of_a, "{conditions:?}");
            assert_eq!(conditions.hold(None), of_nothing, "{conditions:?}");
            assert_eq!(conditions.want_nothing_there(), if_none_match == Some("*"));
        }
    }

    #[test]
    fn a_tag_names_what_is_shown() {
        assert_eq!(Tag::of(&"a"), Tag::of(&"a"));
        assert_ne!(Tag::of(&"a"), Tag::of(&"b"));
    }
}
