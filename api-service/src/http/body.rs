//! Reading a request's body, and a JSON object's fields one by one, so that whatever is wrong is
//! named.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use actix_web::{HttpRequest, http::header, web::Payload};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::{Deserialize, de};
use shared_events::{
    JsonText,
    json_text::{MAX_JSON_DEPTH, depth},
};

use crate::problem::{FieldError, Problem};

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Reads the whole body, of at most `limit` bytes.
///
/// # Errors
/// 413, 408, or 400 where the client breaks off.
pub async fn read_body(mut body: Payload, limit: usize) -> Result<Bytes, Problem> {
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| Problem::malformed_body(error.to_string()))?;
            if bytes.len() + chunk.len() > limit {
                return Err(Problem::too_large(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(BODY_DEADLINE, read).await.unwrap_or(Err(Problem::slow_body()))
}

/// Reads the body as a JSON object.
///
/// # Errors
/// Those of [`read_body`]; 415 for another content type; 400 where it is no JSON object.
pub async fn read_fields(request: &HttpRequest, body: Payload, limit: usize) -> Result<Fields, Problem> {
    check_content_type(request)?;
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|declared: usize| declared > limit) {
        return Err(Problem::too_large(limit));
    }
    Fields::parse(&read_body(body, limit).await?)
}

fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json"));
    if is_json { Ok(()) } else { Err(Problem::not_json()) }
}

/// Reads the body as a JSON object, where there is a body.
///
/// # Errors
/// Those of [`read_fields`].
pub async fn read_optional_fields(
    request: &HttpRequest,
    body: Payload,
    limit: usize,
) -> Result<Option<Fields>, Problem> {
    let bytes = read_body(body, limit).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    check_content_type(request)?;
    Fields::parse(&bytes).map(Some)
}

/// The fields of a JSON object. Each is taken once; what is left over at the end, and all that was
/// wrong, is told by [`Fields::finish`].
#[derive(Debug)]
pub struct Fields {
    left: BTreeMap<String, JsonText>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads an object.
    ///
    /// # Errors
    /// 400 where the bytes are no JSON object, or name a field twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| Problem::malformed_body("the body is not UTF-8"))?;
        // The parser has a limit of its own, but says nothing of the field. The levels of a batch's
        // list and of the bodies' own objects come on top of a payload's.
        if depth(text) > MAX_JSON_DEPTH + 3 {
            let error = FieldError::new("payload", format!("is nested deeper than {MAX_JSON_DEPTH} levels"));
            return Err(Problem::invalid(vec![error]));
        }
        let left: Unique =
            serde_json::from_str(text).map_err(|error| Problem::malformed_body(error.to_string()))?;
        Ok(Self { left: left.0, errors: Vec::new() })
    }

    /// Says that a field is wrong.
    pub fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// The field as it was sent.
    pub fn raw(&mut self, name: &str) -> Option<JsonText> {
        self.left.remove(name)
    }

    /// A field that must be there, a string of this type.
    pub fn required<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        if !self.left.contains_key(name) {
            self.wrong(name, "is required");
        }
        self.parsed(name)
    }

    /// A field that is a string of this type.
    pub fn parsed<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let text: String = self.read(name, "must be a string")?;
        text.parse().map_err(|error: T::Err| self.wrong(name, error.to_string())).ok()
    }

    /// A field that is a string of so many bytes.
    pub fn text(&mut self, name: &str, bytes: RangeInclusive<usize>) -> Option<String> {
        let text: String = self.read(name, "must be a string")?;
        if bytes.contains(&text.len()) {
            return Some(text);
        }
        self.wrong(name, format!("must be {} to {} bytes long", bytes.start(), bytes.end()));
        None
    }

    /// A field that is a whole number within `range`.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let message = format!("must be a whole number from {} to {}", range.start(), range.end());
        let number: u32 = self.read(name, &message)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.wrong(name, message);
        None
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 that names every field that is wrong or not known.
    pub fn finish(mut self) -> Result<(), Problem> {
        let unknown = std::mem::take(&mut self.left);
        self.errors.extend(unknown.into_keys().map(|name| FieldError::new(name, "is not a known field")));
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn read<T: de::DeserializeOwned>(&mut self, name: &str, message: &str) -> Option<T> {
        let raw = self.left.remove(name)?;
        serde_json::from_str(raw.as_str()).map_err(|_| self.wrong(name, message)).ok()
    }
}

/// An object that names no field twice.
struct Unique(BTreeMap<String, JsonText>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, JsonText>()? {
                    if fields.contains_key(&name) {
                        return Err(de::Error::custom(format_args!("field {name:?} appears twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Unique(fields))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_object_is_malformed() {
        for body in ["", "[]", "1", "{", r#"{"a":1,"a":2}"#, "{\"a\":\u{0}}", r#"{"a":1} x"#] {
            assert_eq!(Fields::parse(body.as_bytes()).unwrap_err().code(), "malformed_body", "{body}");
        }
        assert_eq!(Fields::parse(b"\xff").unwrap_err().code(), "malformed_body");
    }

    #[test]
    fn a_bottomless_body_is_refused_before_it_is_parsed() {
        let body = format!("{{\"payload\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Fields::parse(body.as_bytes()).unwrap_err().code(), "invalid_field");
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes: Vec<u8>) {
            let _ = Fields::parse(&bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\":,a-c0-9\\\\u ]{0,60}") {
            let _ = Fields::parse(text.as_bytes());
        }
    }
}
