//! Reading a JSON object's fields one by one, so that whatever is wrong is named.

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, de};
use serde_json::value::RawValue;
use shared_events::{
    JsonText,
    json_text::{MAX_JSON_DEPTH, depth},
};

use super::{FieldError, Problem};

/// The most names of one object that are kept: whatever they are, one that has more is refused.
const MOST_NAMES: usize = 1000;

/// The fields of a JSON object. Each is taken once; what is left over at the end, and all that was
/// wrong, is told by [`Fields::finish`].
#[derive(Debug)]
pub struct Fields<'a> {
    left: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// How many names came after the first [`MOST_NAMES`].
    not_kept: usize,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// 400 where the bytes are no JSON object, or name a field twice.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| Problem::malformed_body("the body is not UTF-8"))?;
        // The parser has a limit of its own, but says nothing of the field. The levels of a batch's
        // list and of the bodies' own objects come on top of a payload's.
        if depth(text) > MAX_JSON_DEPTH + 3 {
            let error = FieldError::new("payload", format!("is nested deeper than {MAX_JSON_DEPTH} levels"));
            return Err(Problem::invalid(vec![error]));
        }
        let Unique { fields, not_kept } =
            serde_json::from_str(text).map_err(|error| Problem::malformed_body(error.to_string()))?;
        Ok(Self { left: fields, not_kept, errors: Vec::new() })
    }

    /// Says that a field is wrong.
    pub fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// Whether there is such a field that was not taken yet.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// The field as it was sent.
    pub fn raw(&mut self, name: &str) -> Option<JsonText> {
        self.borrowed(name).map(JsonText::from)
    }

    /// The same, without a copy of it.
    pub fn borrowed(&mut self, name: &str) -> Option<&'a RawValue> {
        self.left.remove(name)
    }

    /// A field that must be there, a string of this type.
    pub fn required<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        // Among the names that were not kept it may be.
        if !self.left.contains_key(name) && self.not_kept == 0 {
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
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid_and_more(self.errors, self.not_kept))
        }
    }

    fn read<T: de::DeserializeOwned>(&mut self, name: &str, message: &str) -> Option<T> {
        let raw = self.left.remove(name)?;
        serde_json::from_str(raw.get()).map_err(|_| self.wrong(name, message)).ok()
    }
}

/// An object that names no field twice, as far as its names are kept.
struct Unique<'a> {
    fields: BTreeMap<Cow<'a, str>, &'a RawValue>,
    not_kept: usize,
}

/// A name; borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Unique<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Unique<'de>, A::Error> {
                let (mut fields, mut not_kept) = (BTreeMap::new(), 0);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if fields.contains_key(&name) {
                        return Err(de::Error::custom(format_args!("field {name:?} appears twice")));
                    }
                    if fields.len() < MOST_NAMES {
                        fields.insert(name, value);
                    } else {
                        not_kept += 1;
                    }
                }
                Ok(Unique { fields, not_kept })
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

    #[test]
    fn of_many_unknown_names_some_are_named_and_the_rest_is_counted() {
        let body = |names: usize| {
            let names: Vec<String> = (0..names).map(|number| format!("\"u{number:05}\":0")).collect();
            format!("{{{},\"known\":1}}", names.join(","))
        };
        for (names, named) in [(3, 3), (100, 100), (101, 100), (1500, 100)] {
            let body = body(names);
            let mut fields = Fields::parse(body.as_bytes()).unwrap();
            let _ = fields.required::<String>("known");
            let problem = serde_json::to_value(fields.finish().unwrap_err()).unwrap();
            let errors = problem["errors"].as_array().unwrap();
            let unknown = errors.iter().filter(|error| error["message"] == "is not a known field").count();
            let omitted = problem["errors_omitted"].as_u64().unwrap_or(0);
            assert!(errors.len() <= 100 && unknown <= named, "{names}: {problem}");
            assert!(errors.len() as u64 + omitted > names as u64 - 1, "{names}: {problem}");
        }
    }

    #[test]
    fn an_endless_name_is_cut() {
        let body = format!("{{\"{}\":1}}", "n".repeat(1 << 20));
        let problem = Fields::parse(body.as_bytes()).unwrap().finish().unwrap_err();
        assert!(serde_json::to_string(&problem).unwrap().len() < 2000);
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
