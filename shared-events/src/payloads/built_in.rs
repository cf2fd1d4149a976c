//! The payload types of the kinds that every worker knows.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{BadPayload, Payload};

/// How long `sleep` sleeps where its payload does not say, in seconds: the older system's range.
const SLEEP_S: (f64, f64) = (15.0, 45.0);

/// Does nothing. Its payload is any object, of which nothing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(example = json!({}))]
pub struct Noop {}

/// Sleeps for a time between two bounds, at random, and says for how long: `{"slept_s": …}`.
///
/// One bound alone moves the other where it would lie on the wrong side.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "min_s": 1, "max_s": 2 }))]
pub struct Sleep {
    /// The least, in seconds.
    #[schema(minimum = 0, maximum = 86_400, default = 15)]
    min_s: Option<f64>,
    /// The most, in seconds; not less than `min_s`.
    #[schema(minimum = 0, maximum = 86_400, default = 45)]
    max_s: Option<f64>,
}

impl Sleep {
    /// The least and the most, in seconds.
    #[must_use]
    pub fn range_s(&self) -> (f64, f64) {
        match (self.min_s, self.max_s) {
            (None, None) => SLEEP_S,
            (Some(min_s), None) => (min_s, min_s.max(SLEEP_S.1)),
            (None, Some(max_s)) => (max_s.min(SLEEP_S.0), max_s),
            (Some(min_s), Some(max_s)) => (min_s, max_s),
        }
    }
}

/// Waits, and answers a random permutation of the text's characters: `{"text": …}`.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "text": "hasty", "pause_s": 0 }))]
pub struct Shuffle {
    /// The text.
    pub text: String,
    /// How long to wait before answering, in seconds.
    #[serde(default = "Shuffle::default_pause_s")]
    #[schema(minimum = 0, maximum = 86_400, default = Shuffle::default_pause_s)]
    pub pause_s: f64,
}

impl Shuffle {
    const fn default_pause_s() -> f64 {
        3.0
    }
}

impl Payload for Noop {
    const KIND: &'static str = "noop";
}

impl Payload for Sleep {
    const KIND: &'static str = "sleep";

    fn check(&self) -> Result<(), BadPayload> {
        let (min_s, max_s) = self.range_s();
        if min_s > max_s {
            return Err(BadPayload::new("max_s", "must not be less than min_s"));
        }
        Ok(())
    }
}

impl Payload for Shuffle {
    const KIND: &'static str = "shuffle";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        JsonText,
        payloads::{PayloadSchema, check},
    };

    fn payload(json: &str) -> JsonText {
        JsonText::from_stored(json.to_owned()).unwrap()
    }

    fn range_s(json: &str) -> (f64, f64) {
        PayloadSchema::<Sleep>::new().read(&payload(json)).unwrap().range_s()
    }

    fn wrong(kind: &str, json: &str) -> Vec<String> {
        let wrong = check(&kind.parse().unwrap(), &payload(json));
        wrong.into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn sleep_has_the_older_systems_range() {
        assert_eq!(range_s("{}"), (15.0, 45.0));
        assert_eq!(range_s(r#"{"max_s":1}"#), (1.0, 1.0));
        assert_eq!(range_s(r#"{"min_s":60}"#), (60.0, 60.0));
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        for (kind, json, fields) in [
            ("sleep", r#"{"min_s":"1"}"#, &["payload.min_s"][..]),
            ("sleep", r#"{"min_s":null}"#, &["payload.min_s"]),
            ("sleep", r#"{"min_s":-1,"max_s":1e9}"#, &["payload.max_s", "payload.min_s"]),
            ("sleep", r#"{"min_s":2,"max_s":1}"#, &["payload.max_s"]),
            ("sleep", r#"{"seconds":1}"#, &["payload.seconds"]),
            ("shuffle", "{}", &["payload.text"]),
            ("shuffle", r#"{"text":7,"pause":1}"#, &["payload.pause", "payload.text"]),
        ] {
            let mut named = wrong(kind, json);
            named.sort();
            assert_eq!(named, fields, "{kind} {json}");
        }
    }

    #[test]
    fn unknown_kinds_take_any_object() {
        assert_eq!(wrong("transcode", r#"{"min_s":"x"}"#), Vec::<String>::new());
    }

    #[test]
    fn each_example_is_right_and_defaults_are_what_is_read() {
        for built_in in crate::payloads::built_in() {
            let example = built_in.schema["example"].to_string();
            assert_eq!(wrong(built_in.kind, &example), Vec::<String>::new(), "{}", built_in.kind);
        }
        let of =
            |kind: &str| crate::payloads::built_in().iter().find(|built_in| built_in.kind == kind).unwrap();
        let default = |kind: &str, field: &str| of(kind).schema["properties"][field]["default"].as_f64();
        assert_eq!(
            (default("sleep", "min_s"), default("sleep", "max_s")),
            (Some(SLEEP_S.0), Some(SLEEP_S.1))
        );
        assert_eq!(default("shuffle", "pause_s"), Some(Shuffle::default_pause_s()));
    }

    proptest! {
        #[test]
        fn no_object_makes_it_panic(min in any::<f64>(), text in "\\PC{0,20}") {
            let value = json!({ "min_s": min, "text": text, "pause_s": min });
            let payload = JsonText::of(&value).unwrap();
            for kind in ["sleep", "shuffle", "noop"] {
                let _ = check(&kind.parse().unwrap(), &payload);
            }
        }
    }
}
