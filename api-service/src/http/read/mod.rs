//! Reading what a request brings into plain structs, so that all that is wrong with it is told at once.
//!
//! A struct derives [`ReadFields`]; what each of its fields may be is said by that field's type ([`FieldValue`]). The
//! same struct describes the request in the API's document (`utoipa`'s derives). [`Input`] is what a handler takes.

mod as_written;
mod decimal;
mod fields;
mod input;
mod json_object;
mod kept;
mod mistakes;
mod number;
mod query;
mod value;

pub use api_service_derive::ReadFields;
pub use as_written::{AsWritten, Nested};
pub use decimal::Decimal;
pub use fields::{Fields, ReadFields};
pub use input::{
    Both, Empty, Input, Json, JsonBody, Lines, NoBody, OptionalJson, PathFields, read_json_object,
};
pub use kept::{Kept, Removable};
pub use mistakes::{FieldError, Mistake, MistakeCode, Mistakes, Place};
pub use number::Number;
pub use value::{CommaSeparated, FieldValue, StringValue, Text, object_field};
