//! Values inside of a body that this system has written itself, and objects inside of one.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{FieldValue, Mistake, MistakeCode, Mistakes, ReadFields, object_field};

/// A value as this system writes it.
#[derive(Debug, Clone)]
pub struct AsWritten<T>(pub T);

impl<T: DeserializeOwned> FieldValue for AsWritten<T> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let wrong = |error: serde_json::Error| {
            Mistake::new(MistakeCode::WrongFormat, format!("is not as an export writes it: {error}"))
        };
        serde_json::from_str(json.get()).map(Self).map_err(wrong)
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "is a value of JSON"))
    }
}

/// An object; what is wrong in it is named by its own name too.
#[derive(Debug, Clone)]
pub struct Nested<T>(pub Box<T>);

impl<T: ReadFields> FieldValue for Nested<T> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let wrong = Mistake::new(MistakeCode::WrongType, "must be an object as an export writes it");
        Self::of_field(json, "", &mut Mistakes::default()).ok_or(wrong)
    }

    fn of_field(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        object_field(json, name, mistakes).map(|value| Self(Box::new(value)))
    }

    fn from_text(_: &str) -> Result<Self, Mistake> {
        Err(Mistake::new(MistakeCode::WrongType, "is an object"))
    }
}
