//! What a field's value may be: in JSON, and as the text of a parameter, a header or a part of the path.

use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

use serde_json::value::RawValue;
use shared_events::{JobId, JsonText, Kind, Priority, Queue, Status, Timestamp, json_text::BadJsonText};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ArrayBuilder, ObjectBuilder, Schema, Type},
    },
};

use super::{Mistake, MistakeCode, Mistakes, Place, ReadFields, read_json_object};

/// A type that a field of a request can have. What it may be is said by its schema too.
pub trait FieldValue: Sized {
    /// From a JSON value.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_json(json: &RawValue) -> Result<Self, Mistake>;

    /// From the value of a body's field of this name; none where it is wrong, which is added to the mistakes. One that
    /// has fields itself names them (`retry.base_s`).
    fn of_field(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        Self::from_json(json).map_err(|mistake| mistakes.add(Place::Body, name, mistake)).ok()
    }

    /// From the text of a parameter, a header or a part of the path.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_text(text: &str) -> Result<Self, Mistake>;

    /// From all the texts that a parameter or header has; there is one at least.
    ///
    /// # Errors
    /// What is wrong with them; most may be given only once.
    fn from_texts(texts: &[Cow<'_, str>]) -> Result<Self, Mistake> {
        match texts {
            [text] => Self::from_text(text),
            _ => Err(repeated()),
        }
    }
}

/// Reads a field that is an object: what is wrong in it is named by both names.
pub fn object_field<T: ReadFields>(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<T> {
    match read_json_object(json.get().as_bytes()) {
        Ok(value) => Some(value),
        Err(wrong) => {
            mistakes.extend(wrong.within(name));
            None
        }
    }
}

fn repeated() -> Mistake {
    Mistake::new(MistakeCode::Repeated, "is given more than once")
}

fn string(json: &RawValue) -> Result<Cow<'_, str>, Mistake> {
    // A string that has no escapes is the text between its quotes.
    match json.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        _ => serde_json::from_str(json.get())
            .map(Cow::Owned)
            .map_err(|_| Mistake::new(MistakeCode::WrongType, "must be a string")),
    }
}

/// A type that is a string wherever it is, and checks itself where it is parsed.
pub trait StringValue: FromStr<Err: fmt::Display> {
    /// Whether several headers of that name are one list (RFC 9110, section 5.3).
    const IS_LIST: bool = false;
}

impl<T: StringValue> FieldValue for T {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        Self::from_text(&string(json)?)
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        text.parse().map_err(|error: T::Err| Mistake::new(MistakeCode::WrongFormat, error.to_string()))
    }

    fn from_texts(texts: &[Cow<'_, str>]) -> Result<Self, Mistake> {
        match texts {
            [text] => Self::from_text(text),
            texts if T::IS_LIST => Self::from_text(&texts.join(", ")),
            _ => Err(repeated()),
        }
    }
}

impl StringValue for JobId {}
impl StringValue for Kind {}
impl StringValue for Queue {}
impl StringValue for Priority {}
impl StringValue for Status {}
impl StringValue for Timestamp {}

/// A job's payload: any object, to the letter.
impl FieldValue for JsonText {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        Self::from(json).object().and_then(Self::within_limits).map_err(|error| {
            let code = match error {
                BadJsonText::Syntax(_) => MistakeCode::WrongFormat,
                BadJsonText::NotAnObject => MistakeCode::WrongType,
                BadJsonText::TooLarge => MistakeCode::WrongLength,
                BadJsonText::TooDeep => MistakeCode::TooDeep,
            };
            Mistake::new(code, error.to_string())
        })
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        let json: &RawValue =
            serde_json::from_str(text).map_err(|_| Mistake::new(MistakeCode::WrongFormat, "is not JSON"))?;
        Self::from_json(json)
    }
}

impl FieldValue for bool {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        serde_json::from_str(json.get())
            .map_err(|_| Mistake::new(MistakeCode::WrongType, "must be true or false"))
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        text.parse().map_err(|_| Mistake::new(MistakeCode::WrongFormat, "must be true or false"))
    }
}

/// A text of `MIN` to `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> Deref for Text<MIN, MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize, const MAX: usize> FieldValue for Text<MIN, MAX> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        Self::from_text(&string(json)?)
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        if (MIN..=MAX).contains(&text.chars().count()) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("must be {MIN} to {MAX} characters long");
        Err(Mistake::new(MistakeCode::WrongLength, message))
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(MIN)).max_length(Some(MAX)).into()
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {}

/// A parameter with several values, which are separated by commas or come with a parameter of that name each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommaSeparated<T>(pub Vec<T>);

impl<T> Default for CommaSeparated<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FieldValue> FieldValue for CommaSeparated<T> {
    fn from_json(_: &RawValue) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "is a parameter's, not a JSON value"))
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        text.split(',').map(T::from_text).collect::<Result<_, _>>().map(Self)
    }

    fn from_texts(texts: &[Cow<'_, str>]) -> Result<Self, Mistake> {
        let values = texts.iter().flat_map(|text| text.split(','));
        values.map(T::from_text).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: PartialSchema> PartialSchema for CommaSeparated<T> {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(T::schema()).into()
    }
}

impl<T: ToSchema> ToSchema for CommaSeparated<T> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_texts_length_is_counted_in_characters() {
        type Short = Text<1, 3>;
        assert_eq!(&*Short::from_json(json("\"\\u00fc\u{fc}x\"")).unwrap(), "\u{fc}\u{fc}x");
        assert!(Short::from_text("").is_err() && Short::from_text("abcd").is_err());
        assert_eq!(Short::from_json(json("7")).unwrap_err().code, MistakeCode::WrongType);
    }

    #[test]
    fn several_values_come_together_or_one_by_one() {
        let all = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().copied().map(Cow::Borrowed).collect();
            CommaSeparated::<Status>::from_texts(&texts).map(|CommaSeparated(all)| all)
        };
        assert_eq!(all(&["queued,failed"]), all(&["queued", "failed"]));
        assert!(all(&["queued,"]).is_err() && all(&[""]).is_err());
    }
}
