//! The payloads of the kinds that every worker knows: checked by the api-service before a job is stored, read by the
//! job-service's handlers. Other kinds take any object.
//!
//! A payload is a type; its JSON Schema is made of it (`utoipa`), is what its values are checked by, and is what clients
//! are shown.

mod built_in;
mod command;
mod container;
mod http;
mod schema;

use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

pub use built_in::{Noop, Shuffle, Sleep};
pub use command::{Command, ExitStatus};
pub use container::{Container, Pull};
pub use http::{Http, HttpMethod, HttpStatus};
pub use schema::{PayloadSchema, without_null};

use crate::{JsonText, Kind};

/// The payload of a kind.
pub trait Payload: DeserializeOwned + ToSchema {
    /// The kind.
    const KIND: &'static str;

    /// What no schema can say: checks values together.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self) -> Result<(), BadPayload> {
        Ok(())
    }
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

impl BadPayload {
    /// What is wrong with this field of a payload.
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        let field = if field.is_empty() { "payload".to_owned() } else { format!("payload.{field}") };
        Self { field, message: message.into() }
    }
}

/// Says all that is wrong with a payload.
type Check = dyn Fn(&JsonText) -> Vec<BadPayload> + Send + Sync;

/// A kind that every worker knows.
pub struct BuiltInKind {
    /// The kind.
    pub kind: &'static str,
    /// The JSON Schema of its payloads, with a description and an example.
    pub schema: Value,
    check: Box<Check>,
}

impl BuiltInKind {
    fn of<T: Payload + 'static>() -> Self {
        let schema = PayloadSchema::<T>::new();
        Self {
            kind: T::KIND,
            schema: schema.schema().clone(),
            check: Box::new(move |payload| schema.read(payload).err().unwrap_or_default()),
        }
    }
}

static BUILT_IN: LazyLock<Vec<BuiltInKind>> = LazyLock::new(|| {
    vec![
        BuiltInKind::of::<Command>(),
        BuiltInKind::of::<Container>(),
        BuiltInKind::of::<Http>(),
        BuiltInKind::of::<Noop>(),
        BuiltInKind::of::<Shuffle>(),
        BuiltInKind::of::<Sleep>(),
    ]
});

/// All kinds that every worker knows.
#[must_use]
pub fn built_in() -> &'static [BuiltInKind] {
    &BUILT_IN
}

/// All that is wrong with the payload of a built-in kind; any object is fine for others.
#[must_use]
pub fn check(kind: &Kind, payload: &JsonText) -> Vec<BadPayload> {
    let built_in = BUILT_IN.iter().find(|built_in| built_in.kind == kind.as_str());
    built_in.map_or_else(Vec::new, |built_in| (built_in.check)(payload))
}
