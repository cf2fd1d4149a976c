//! Fields of a merge patch (RFC 7396).

use std::borrow::Cow;

use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{FieldValue, Mistake, MistakeCode, Mistakes, Place};

/// A field that a merge patch may change, but not remove: `null` is a mistake.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<T>(pub T);

const NOT_REMOVED: Mistake = Mistake {
    code: MistakeCode::Required,
    message: Cow::Borrowed("can not be removed: null is not allowed here"),
};

impl<T: FieldValue> FieldValue for Kept<T> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        if json.get() == "null" { Err(NOT_REMOVED) } else { T::from_json(json).map(Self) }
    }

    fn of_field(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if json.get() == "null" {
            mistakes.add(Place::Body, name, NOT_REMOVED);
            return None;
        }
        T::of_field(json, name, mistakes).map(Self)
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        T::from_text(text).map(Self)
    }
}

impl<T: PartialSchema> PartialSchema for Kept<T> {
    fn schema() -> RefOr<Schema> {
        T::schema()
    }
}

impl<T: ToSchema> ToSchema for Kept<T> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

/// A field that a merge patch may change, or remove by `null`.
#[derive(Debug, Clone, PartialEq)]
pub struct Removable<T>(pub Option<T>);

impl<T: FieldValue> FieldValue for Removable<T> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        if json.get() == "null" { Ok(Self(None)) } else { T::from_json(json).map(|value| Self(Some(value))) }
    }

    fn of_field(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if json.get() == "null" {
            return Some(Self(None));
        }
        T::of_field(json, name, mistakes).map(|value| Self(Some(value)))
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        T::from_text(text).map(|value| Self(Some(value)))
    }
}
