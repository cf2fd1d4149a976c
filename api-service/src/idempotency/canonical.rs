//! One form for all JSON texts that say the same, so that their hash tells whether two requests are one.
//!
//! The order of an object's fields and the spaces between tokens are not in it. Numbers and strings stand as they
//! were written: `1.0` is not `1`, and `"\u00e9"` is not `"é"`, since nobody but the handler knows what they mean.

use sha2::{Digest, Sha256};

/// A JSON object whose fields are added one by one, left out where they have their default.
#[derive(Debug, Default)]
pub struct CanonicalObject {
    fields: Vec<(String, String)>,
}

impl CanonicalObject {
    /// Adds a field, unless it has its default.
    pub fn add<T: PartialEq + serde::Serialize>(&mut self, name: &str, value: &T, default: &T) {
        if value != default {
            self.add_text(name, &serde_json::to_string(value).unwrap_or_default(), "");
        }
    }

    /// The same of a valid JSON text.
    pub fn add_text(&mut self, name: &str, json: &str, default: &str) {
        let value = canonical(json);
        if value != default {
            self.fields.push((format!("\"{name}\""), value));
        }
    }

    /// The object's text.
    #[must_use]
    pub fn text(self) -> String {
        object(self.fields)
    }

    /// The SHA-256 of the object's text.
    #[must_use]
    pub fn sha256(self) -> [u8; 32] {
        Sha256::digest(self.text()).into()
    }
}

/// The canonical form of a valid JSON text, which is nested no deeper than requests may be.
pub(crate) fn canonical(json: &str) -> String {
    Reader { rest: json }.value()
}

fn object(mut fields: Vec<(String, String)>) -> String {
    // Stable: of a name that is there twice, the last one counts to most readers.
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// What is left of a valid JSON text. It ends early where the text is not valid, and never fails.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> String {
        if self.takes('{') {
            let fields = self.list('}', |reader| {
                let name = reader.scalar();
                reader.takes(':');
                (name, reader.value())
            });
            return object(fields);
        }
        if self.takes('[') {
            return format!("[{}]", self.list(']', Self::value).join(","));
        }
        self.scalar()
    }

    /// What stands between here and `end`, separated by commas.
    fn list<T>(&mut self, end: char, member: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut members = Vec::new();
        while !self.takes(end) && !self.rest.is_empty() {
            members.push(member(self));
            self.takes(',');
        }
        members
    }

    /// A string, a number or a word, as it is written.
    fn scalar(&mut self) -> String {
        self.rest = self.rest.trim_start();
        let length = if self.rest.starts_with('"') { self.string() } else { self.word() };
        // Where the text is not valid, at least one character goes.
        let length =
            length.unwrap_or(self.rest.len()).max(self.rest.chars().next().map_or(0, char::len_utf8));
        let (scalar, rest) = self.rest.split_at(length);
        self.rest = rest;
        scalar.to_owned()
    }

    fn string(&self) -> Option<usize> {
        let mut escaped = false;
        let end = self.rest.bytes().skip(1).position(|byte| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        });
        end.map(|end| end + 2)
    }

    fn word(&self) -> Option<usize> {
        self.rest.find(|char: char| char.is_ascii_whitespace() || ",:]}".contains(char))
    }

    fn takes(&mut self, char: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn order_and_spacing_do_not_count_and_texts_do() {
        let json = " {\"b\" : [ 1.0 ,{ } , [ ]], \"a\":{\"z\": null,\"y\" :\"x \\\" {,}\"}\n}\t";
        assert_eq!(canonical(json), r#"{"a":{"y":"x \" {,}","z":null},"b":[1.0,{},[]]}"#);
        for (one, other) in [
            ("1.0", "1"),
            ("1e2", "100"),
            (r#""\u00e9""#, r#""é""#),
            (r#""a""#, r#""a ""#),
            ("[1,2]", "[2,1]"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
            ("-0", "0"),
            ("null", "{}"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
            "[\"\\\\,:{}\\[\\] ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\]{0,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// `serde_json` writes objects in the order of their names, without spaces: that is this form, where no
        /// name needs an escape that changes the order.
        #[test]
        fn it_says_the_same_as_the_text(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let canonical = canonical(&pretty);
            prop_assert_eq!(&serde_json::from_str::<Value>(&canonical).unwrap(), &value);
            prop_assert_eq!(super::canonical(&serde_json::to_string(&value).unwrap()), canonical);
        }

        #[test]
        fn no_text_makes_it_panic_or_go_on_for_ever(text in "[\\[\\]{}\":,a-c0-9é\\\\ ]{0,60}") {
            let _ = canonical(&text);
        }
    }
}
