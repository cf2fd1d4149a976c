//! The payloads of the kinds that every worker knows: checked by the api-service before a job is
//! stored, read by the job-service's handlers. Other kinds take any object.

use crate::{JsonText, Kind};

/// The payload of a kind.
pub trait Payload: Sized {
    /// The kind.
    const KIND: &'static str;

    /// Reads and checks it.
    ///
    /// # Errors
    /// [`BadPayload`] names the first field that is wrong.
    fn read(payload: &JsonText) -> Result<Self, BadPayload>;
}

/// The check of one kind's payload.
type Check = fn(&JsonText) -> Result<(), BadPayload>;

/// The checks of all built-in kinds.
const BUILT_IN: &[(&str, Check)] = &[
    (Noop::KIND, |payload| Noop::read(payload).map(drop)),
    (Sleep::KIND, |payload| Sleep::read(payload).map(drop)),
    (Shuffle::KIND, |payload| Shuffle::read(payload).map(drop)),
];

/// Payload of `noop`: any object, of which nothing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noop;

/// How long `sleep` sleeps where its payload does not say, in seconds: the older system's range.
const SLEEP_S: (f64, f64) = (15.0, 45.0);

/// How long `shuffle` waits where its payload does not say, in seconds.
const PAUSE_S: f64 = 3.0;

/// The longest pause or sleep, in seconds: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// Payload of `sleep`: how long, at random between the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sleep {
    /// The least, in seconds; 0 to 86,400.
    pub min_s: f64,
    /// The most, in seconds; `min_s` to 86,400.
    pub max_s: f64,
}

/// Payload of `shuffle`: whose characters come back in random order.
#[derive(Debug, Clone, PartialEq)]
pub struct Shuffle {
    /// The text.
    pub text: String,
    /// How long to wait before answering, in seconds; 0 to 86,400.
    pub pause_s: f64,
}

/// What is wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct BadPayload {
    /// The field, such as `payload.min_s`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

fn bad(field: &str, message: impl Into<String>) -> BadPayload {
    BadPayload { field: format!("payload.{field}"), message: message.into() }
}

/// Checks the payload of a built-in kind; any object is fine for others.
///
/// # Errors
/// [`BadPayload`] names the first field that is wrong.
pub fn check(kind: &Kind, payload: &JsonText) -> Result<(), BadPayload> {
    let built_in = BUILT_IN.iter().find(|(name, _)| *name == kind.as_str());
    built_in.map_or(Ok(()), |(_, check)| check(payload))
}

impl Payload for Noop {
    const KIND: &'static str = "noop";

    fn read(payload: &JsonText) -> Result<Self, BadPayload> {
        object(payload).map(|_| Self)
    }
}

impl Payload for Sleep {
    const KIND: &'static str = "sleep";

    fn read(payload: &JsonText) -> Result<Self, BadPayload> {
        let mut fields = object(payload)?;
        let min_s = seconds(&mut fields, "min_s")?;
        let max_s = seconds(&mut fields, "max_s")?;
        nothing_else(&fields)?;
        // One bound alone moves the other where it would lie on the wrong side.
        let (min_s, max_s) = match (min_s, max_s) {
            (None, None) => SLEEP_S,
            (Some(min_s), None) => (min_s, min_s.max(SLEEP_S.1)),
            (None, Some(max_s)) => (max_s.min(SLEEP_S.0), max_s),
            (Some(min_s), Some(max_s)) => (min_s, max_s),
        };
        if min_s > max_s {
            return Err(bad("max_s", "must not be less than min_s"));
        }
        Ok(Self { min_s, max_s })
    }
}

impl Payload for Shuffle {
    const KIND: &'static str = "shuffle";

    fn read(payload: &JsonText) -> Result<Self, BadPayload> {
        let mut fields = object(payload)?;
        let text = match fields.remove("text") {
            Some(serde_json::Value::String(text)) => text,
            Some(_) => return Err(bad("text", "must be a string")),
            None => return Err(bad("text", "is required")),
        };
        let pause_s = seconds(&mut fields, "pause_s")?.unwrap_or(PAUSE_S);
        nothing_else(&fields)?;
        Ok(Self { text, pause_s })
    }
}

type Fields = serde_json::Map<String, serde_json::Value>;

fn object(payload: &JsonText) -> Result<Fields, BadPayload> {
    serde_json::from_str(payload.as_str())
        .map_err(|_| BadPayload { field: "payload".to_owned(), message: "must be a JSON object".to_owned() })
}

fn seconds(fields: &mut Fields, name: &str) -> Result<Option<f64>, BadPayload> {
    let Some(value) = fields.remove(name) else { return Ok(None) };
    let number = value.as_f64().ok_or_else(|| bad(name, "must be a number of seconds"))?;
    if !(0.0..=MAX_SECONDS).contains(&number) {
        return Err(bad(name, "must be from 0 to 86400"));
    }
    Ok(Some(number))
}

fn nothing_else(fields: &Fields) -> Result<(), BadPayload> {
    fields.keys().next().map_or(Ok(()), |name| Err(bad(name, "is not a field of this kind's payload")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(json: &str) -> JsonText {
        JsonText::from_stored(json.to_owned()).unwrap()
    }

    fn sleep_field(json: &str) -> String {
        Sleep::read(&payload(json)).unwrap_err().field
    }

    #[test]
    fn sleep_has_the_older_systems_range() {
        assert_eq!(Sleep::read(&payload("{}")), Ok(Sleep { min_s: 15.0, max_s: 45.0 }));
        assert_eq!(Sleep::read(&payload(r#"{"max_s":1}"#)), Ok(Sleep { min_s: 1.0, max_s: 1.0 }));
        assert_eq!(Sleep::read(&payload(r#"{"min_s":60}"#)), Ok(Sleep { min_s: 60.0, max_s: 60.0 }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(sleep_field(r#"{"min_s":"1"}"#), "payload.min_s");
        assert_eq!(sleep_field(r#"{"min_s":-1}"#), "payload.min_s");
        assert_eq!(sleep_field(r#"{"min_s":2,"max_s":1}"#), "payload.max_s");
        assert_eq!(sleep_field(r#"{"max_s":1e9}"#), "payload.max_s");
        assert_eq!(sleep_field(r#"{"seconds":1}"#), "payload.seconds");
        assert_eq!(Shuffle::read(&payload("{}")).unwrap_err().field, "payload.text");
        assert_eq!(Shuffle::read(&payload(r#"{"text":7}"#)).unwrap_err().field, "payload.text");
    }

    #[test]
    fn unknown_kinds_take_any_object() {
        assert_eq!(check(&"transcode".parse().unwrap(), &payload(r#"{"min_s":"x"}"#)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_object_makes_it_panic(min in any::<f64>(), text in "\\PC{0,20}") {
            let value = serde_json::json!({ "min_s": min, "text": text, "pause_s": min });
            let payload = JsonText::of(&value).unwrap();
            let _ = Sleep::read(&payload);
            let _ = Shuffle::read(&payload);
        }
    }
}
