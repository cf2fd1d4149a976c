//! The fields of a JSON object, each with its original text.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, de};
use serde_json::value::RawValue;
use shared_events::json_text::{MAX_JSON_DEPTH, depth};

use super::{Mistake, MistakeCode, Mistakes, Place, mistakes::MAX_NAME_BYTES};

/// The most names of one object that are kept: whatever they are, one that has more is refused.
const MAX_NAMES: usize = 1000;

/// An object that names no field twice, as far as its names are kept.
#[derive(Debug)]
pub(super) struct JsonObject<'a> {
    pub(super) fields: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// How many names came after the first thousand.
    pub(super) not_kept: usize,
}

impl<'a> JsonObject<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// Where the bytes are no JSON object, name a field twice, or are nested deeper than any payload may be.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Mistakes> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Mistakes::malformed("the body is not UTF-8".to_owned()))?;
        // The parser has a limit of its own, but says nothing of the field. The levels of a batch's
        // list and of the bodies' own objects come on top of a payload's.
        if depth(text) > MAX_JSON_DEPTH + 3 {
            let message = format!("is nested deeper than {MAX_JSON_DEPTH} levels");
            let mut mistakes = Mistakes::default();
            mistakes.add(Place::Body, "payload", Mistake::new(MistakeCode::TooDeep, message));
            return Err(mistakes);
        }
        serde_json::from_str(text).map_err(|error| Mistakes::malformed(error.to_string()))
    }
}

/// A name; borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<JsonObject<'de>, A::Error> {
                let (mut fields, mut not_kept) = (BTreeMap::new(), 0);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if fields.contains_key(&name) {
                        // A name may be as long as the body, and longer still when it is written.
                        let name = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
                        return Err(de::Error::custom(format_args!("field {name:?} appears twice")));
                    }
                    if fields.len() < MAX_NAMES {
                        fields.insert(name, value);
                    } else {
                        not_kept += 1;
                    }
                }
                Ok(JsonObject { fields, not_kept })
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
