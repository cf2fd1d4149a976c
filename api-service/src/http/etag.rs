//! Answers that name the state they show (RFC 9110, section 8.8.3), so that a client who has it already gets 304.

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
    pub if_none_match: Option<IfNoneMatch>,
}

/// The tags of `If-None-Match` (RFC 9110, section 13.1.2). What can not be read matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfNoneMatch(String);

impl FromStr for IfNoneMatch {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl StringValue for IfNoneMatch {
    const IS_LIST: bool = true;
}

impl IfNoneMatch {
    /// By weak comparison: a proxy that compresses makes a tag weak.
    fn has(&self, tag: &str) -> bool {
        let mut tags = self.0.split(',').map(str::trim);
        tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
    }
}

/// How to answer with a state that has a tag.
#[derive(Debug)]
pub struct Conditional(Option<IfNoneMatch>);

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
        room: Reservation,
    ) -> HttpResponse {
        let piece = answer::piece(value);
        let tag = tag(&piece);
        // It may be kept, but not used without asking.
        answer.insert_header((header::CACHE_CONTROL, "private, no-cache"));
        if let Ok(value) = HeaderValue::from_str(&tag) {
            answer.insert_header((header::ETAG, value));
        }
        if self.0.is_some_and(|tags| tags.has(&tag)) {
            return answer.status(actix_web::http::StatusCode::NOT_MODIFIED).finish();
        }
        answer::json_bytes(answer, piece, Some(room))
    }
}

/// The tag of a text: the half of its SHA-256.
fn tag(text: &Bytes) -> String {
    let hash = Sha256::digest(text);
    format!("\"{}\"", hex::encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let has = |text: &str| {
            let Ok(tags) = text.parse::<IfNoneMatch>();
            tags.has("\"a\"")
        };
        for text in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(has(text), "{text}");
        }
        for text in ["", "a", "\"b\"", "\"a\"x", "W/a"] {
            assert!(!has(text), "{text}");
        }
    }
}
