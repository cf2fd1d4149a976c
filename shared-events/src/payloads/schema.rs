//! The JSON Schema of a payload type, and checking by it.

use std::marker::PhantomData;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{BadPayload, Payload};
use crate::JsonText;

/// The most errors of one payload that are told.
const MAX_ERRORS: usize = 100;

/// The schema of a payload type, ready to check payloads.
#[derive(Debug)]
pub struct PayloadSchema<T> {
    schema: Value,
    validator: Validator,
    payload: PhantomData<fn() -> T>,
}

impl<T: Payload> PayloadSchema<T> {
    /// Prepares it.
    ///
    /// # Panics
    /// Where the type's schema is none.
    #[must_use]
    pub fn new() -> Self {
        let schema = schema_of::<T>();
        let validator = jsonschema::validator_for(&schema)
            .unwrap_or_else(|error| panic!("the schema of {}: {error}", T::KIND));
        Self { schema, validator, payload: PhantomData }
    }

    /// The JSON Schema (draft 2020-12).
    #[must_use]
    pub const fn schema(&self) -> &Value {
        &self.schema
    }

    /// Reads and checks a payload.
    ///
    /// # Errors
    /// All that is wrong with it, the first hundred.
    pub fn read(&self, payload: &JsonText) -> Result<T, Vec<BadPayload>> {
        let unreadable = |error: serde_json::Error| vec![BadPayload::new("", error.to_string())];
        let value: Value = serde_json::from_str(payload.as_str()).map_err(unreadable)?;
        let wrong: Vec<BadPayload> =
            self.validator.iter_errors(&value).flat_map(|error| told(&error)).take(MAX_ERRORS).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        // From the text: a payload may keep parts of it to the letter.
        let payload: T = serde_json::from_str(payload.as_str()).map_err(unreadable)?;
        payload.check().map_err(|wrong| vec![wrong])?;
        Ok(payload)
    }
}

impl<T: Payload> Default for PayloadSchema<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a schema's error means for the fields.
fn told(error: &ValidationError<'_>) -> Vec<BadPayload> {
    let path = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let here = |message: String| vec![BadPayload::new(&path, message)];
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![BadPayload::new(&inside(property.as_str().unwrap_or_default()), "is required")]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .take(MAX_ERRORS)
            .map(|name| BadPayload::new(&inside(name), "is not a field of this kind's payload"))
            .collect(),
        ValidationErrorKind::Type { .. } if path.is_empty() => here("must be a JSON object".to_owned()),
        ValidationErrorKind::Minimum { limit } => here(format!("must be {limit} at least")),
        ValidationErrorKind::Maximum { limit } => here(format!("must be {limit} at most")),
        ValidationErrorKind::MinLength { limit } => here(format!("must have {limit} characters at least")),
        ValidationErrorKind::MaxLength { limit } => here(format!("must have {limit} characters at most")),
        ValidationErrorKind::Pattern { pattern } => here(format!("must match {pattern}")),
        _ => here(error.masked_with("the value").to_string()),
    }
}

/// The schema of a type, with those that it refers to inside.
fn schema_of<T: ToSchema>() -> Value {
    let mut schema = json(&<T as PartialSchema>::schema());
    let mut referred = Vec::new();
    T::schemas(&mut referred);
    let definitions: Map<String, Value> =
        referred.iter().map(|(name, schema)| (name.clone(), json(schema))).collect();
    if let Value::Object(schema) = &mut schema
        && !definitions.is_empty()
    {
        schema.insert("$defs".to_owned(), definitions.into());
    }
    without_null(&mut schema);
    with_own_definitions(&mut schema);
    schema
}

fn json(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_else(|_| json!({}))
}

fn with_own_definitions(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(with_own_definitions),
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/$defs/");
            }
            object.values_mut().for_each(with_own_definitions);
        }
        _ => {}
    }
}

/// Takes `null` out of a schema: what may be absent is absent, and never null.
pub fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            let names = object
                .iter_mut()
                .filter(|(name, _)| !["example", "examples", "default"].contains(&name.as_str()));
            names.for_each(|(_, value)| without_null(value));
            without_null_type(object);
            without_null_variant(object);
        }
        _ => {}
    }
}

fn without_null_type(object: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = object.get_mut("type") else { return };
    types.retain(|name| name != "null");
    if let [only] = types.as_slice() {
        let only = only.clone();
        object.insert("type".to_owned(), only);
    }
}

fn without_null_variant(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get_mut("oneOf") else { return };
    variants.retain(|variant| variant["type"] != "null");
    if let [Value::Object(only)] = variants.as_slice() {
        let only = only.clone();
        object.remove("oneOf");
        object.extend(only);
    }
}
