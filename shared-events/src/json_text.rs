//! JSON kept as the text it came in.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest payload or result, in bytes.
pub const MAX_JSON_BYTES: usize = 512 * 1024;

/// How deep objects and arrays of a payload or result may lie in each other.
pub const MAX_JSON_DEPTH: usize = 64;

/// A JSON value as its original text: numbers, key order and spaces come out as they went in.
///
/// Goes through `serde_json` only; elsewhere (BSON) keep [`JsonText::as_str`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

/// Why a text is refused as payload or result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJsonText {
    /// Not JSON at all.
    #[error("is not JSON: {0}")]
    Syntax(String),
    /// Over [`MAX_JSON_BYTES`].
    #[error("is larger than {MAX_JSON_BYTES} bytes")]
    TooLarge,
    /// Over [`MAX_JSON_DEPTH`].
    #[error("is nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// An array, a number, … where an object was asked for.
    #[error("must be a JSON object")]
    NotAnObject,
}

impl JsonText {
    /// Takes a text that this system stored or sent before; only its syntax is looked at.
    ///
    /// # Errors
    /// [`BadJsonText::Syntax`].
    pub fn from_stored(text: String) -> Result<Self, BadJsonText> {
        RawValue::from_string(text).map(Self).map_err(|error| BadJsonText::Syntax(error.to_string()))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// [`BadJsonText::Syntax`] where the value has no JSON form, such as a map with keys that are no strings.
    pub fn of(value: &impl Serialize) -> Result<Self, BadJsonText> {
        serde_json::value::to_raw_value(value)
            .map(Self)
            .map_err(|error| BadJsonText::Syntax(error.to_string()))
    }

    /// The empty object.
    #[must_use]
    pub fn empty_object() -> Self {
        match RawValue::from_string("{}".to_owned()) {
            Ok(raw) => Self(raw),
            Err(_) => unreachable!("{{}} is JSON"),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The text, without a copy of it.
    #[must_use]
    pub fn into_text(self) -> String {
        Box::<str>::from(self.0).into_string()
    }

    /// Checks size and depth.
    ///
    /// # Errors
    /// [`BadJsonText::TooLarge`], [`BadJsonText::TooDeep`].
    pub fn within_limits(self) -> Result<Self, BadJsonText> {
        if self.as_str().len() > MAX_JSON_BYTES {
            return Err(BadJsonText::TooLarge);
        }
        if depth(self.as_str()) > MAX_JSON_DEPTH {
            return Err(BadJsonText::TooDeep);
        }
        Ok(self)
    }

    /// Checks that the value is an object.
    ///
    /// # Errors
    /// [`BadJsonText::NotAnObject`].
    pub fn object(self) -> Result<Self, BadJsonText> {
        if self.as_str().starts_with('{') { Ok(self) } else { Err(BadJsonText::NotAnObject) }
    }
}

impl From<&RawValue> for JsonText {
    fn from(value: &RawValue) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// How deep the brackets of a valid JSON text lie in each other; those inside strings do not count.
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut deepest, mut open) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> JsonText {
        JsonText::from_stored(json.to_owned()).unwrap()
    }

    #[test]
    fn comes_out_as_it_went_in() {
        let json = r#"{"b": 1.50, "a":1e400,"ü":"\u00fc", "n":123456789012345678901234567890}"#;
        assert_eq!(serde_json::to_string(&text(json)).unwrap(), json);
        assert_eq!(serde_json::from_str::<JsonText>(json).unwrap().as_str(), json);
    }

    #[test]
    fn brackets_in_strings_do_not_count_as_depth() {
        assert_eq!(depth(r#"{"a":["[[[[","\"[["]}"#), 2);
        assert_eq!(depth("1"), 0);
    }

    #[test]
    fn limits_are_exact() {
        let nested = |levels: usize| text(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        assert!(nested(MAX_JSON_DEPTH).within_limits().is_ok());
        assert_eq!(nested(MAX_JSON_DEPTH + 1).within_limits(), Err(BadJsonText::TooDeep));
        let long = |bytes: usize| text(&format!("\"{}\"", "x".repeat(bytes - 2)));
        assert!(long(MAX_JSON_BYTES).within_limits().is_ok());
        assert_eq!(long(MAX_JSON_BYTES + 1).within_limits(), Err(BadJsonText::TooLarge));
    }

    #[test]
    fn only_objects_are_objects() {
        assert!(text("{}").object().is_ok());
        assert_eq!(text("[1]").object(), Err(BadJsonText::NotAnObject));
    }
}
