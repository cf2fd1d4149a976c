//! Fields of a merge patch (RFC 7396).

use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{FieldValue, Mistake, MistakeCode};

/// A field that a merge patch may change, but not remove: `null` is a mistake.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<T>(pub T);

impl<T: FieldValue> FieldValue for Kept<T> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        if json.get() == "null" {
            return Err(Mistake::new(MistakeCode::Required, "can not be removed: null is not allowed here"));
        }
        T::from_json(json).map(Self)
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
