//! What is wrong with a request: each mistake with its place, its field, words for people and a code for programs.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// The most bytes of a field's name that are repeated to the client.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// The most errors that are kept; more are counted.
const MAX_ERRORS: usize = 100;

/// The most bytes of the parser's words about a body that it can not read.
const MAX_WHY_BYTES: usize = 300;

/// Where in a request something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the path.
    Path,
    /// Among the query's parameters.
    Query,
    /// In a header.
    Header,
    /// In the body.
    Body,
}

/// Which rule a value breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MistakeCode {
    /// It must be there.
    Required,
    /// There is no such field or parameter.
    Unknown,
    /// It is there more than once.
    Repeated,
    /// It is of another JSON type.
    WrongType,
    /// It is not written as it must be, or is none of the values that there are.
    WrongFormat,
    /// It is too small or too large a number.
    OutOfRange,
    /// It has too few or too many characters, bytes or items.
    WrongLength,
    /// It is nested too deep.
    TooDeep,
    /// It does not go with another value of the request.
    Conflict,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// For programs.
    pub code: MistakeCode,
    /// For people: goes on after the field's name, such as `must be a string`.
    pub message: Cow<'static, str>,
}

impl Mistake {
    /// A mistake with these words.
    pub fn new(code: MistakeCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where the field is.
    #[serde(rename = "in")]
    pub place: Place,
    /// The field, such as `payload.min_s`; empty where it is the whole body.
    #[schema(example = "timeout_s")]
    pub field: String,
    /// What is wrong with it, for people.
    #[schema(value_type = String, example = "must be a whole number from 1 to 86400")]
    pub message: Cow<'static, str>,
    /// What is wrong with it, for programs.
    pub code: MistakeCode,
}

/// All that is wrong with a request.
#[derive(Debug, Default)]
pub struct Mistakes {
    pub(super) errors: Vec<FieldError>,
    /// How many more there are that were not kept.
    pub(super) not_kept: usize,
    /// Why the body can not be read at all.
    pub(super) malformed: Option<String>,
}

impl Mistakes {
    /// The body can not be read at all.
    #[must_use]
    pub fn malformed(mut why: String) -> Self {
        why.truncate(why.floor_char_boundary(MAX_WHY_BYTES));
        Self { malformed: Some(why), ..Self::default() }
    }

    /// Adds one, or counts it where there are a hundred; a name that is longer than any that there is, is cut.
    pub fn add(&mut self, place: Place, field: impl Into<String>, mistake: Mistake) {
        if self.errors.len() >= MAX_ERRORS {
            self.not_kept += 1;
            return;
        }
        let mut field = field.into();
        if field.len() > MAX_NAME_BYTES {
            field.truncate(field.floor_char_boundary(MAX_NAME_BYTES));
            field.shrink_to_fit();
            field.push('…');
        }
        let Mistake { code, message } = mistake;
        self.errors.push(FieldError { place, field, message, code });
    }

    /// The same mistakes, and those.
    pub(super) fn extend(&mut self, more: Self) {
        let room = MAX_ERRORS - self.errors.len().min(MAX_ERRORS);
        self.not_kept += more.not_kept + more.errors.len().saturating_sub(room);
        self.errors.extend(more.errors.into_iter().take(room));
        self.malformed = self.malformed.take().or(more.malformed);
    }

    /// The same, of an object that is the field of this name.
    #[must_use]
    pub(super) fn within(mut self, name: &str) -> Self {
        for error in &mut self.errors {
            error.field = format!("{name}.{}", error.field);
        }
        if self.malformed.take().is_some() {
            let message = "must be an object that names each field once";
            self.add(Place::Body, name, Mistake::new(MistakeCode::WrongType, message));
        }
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.not_kept == 0 && self.malformed.is_none()
    }

    /// Whether the body can not be read at all.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        self.malformed.is_some()
    }

    /// Whether one is there.
    #[must_use]
    pub fn has(&self, place: Place) -> bool {
        self.errors.iter().any(|error| error.place == place)
    }

    /// Its parts: the errors, how many more there are, and why the body can not be read, where it can not.
    #[must_use]
    pub fn into_parts(self) -> (Vec<FieldError>, usize, Option<String>) {
        (self.errors, self.not_kept, self.malformed)
    }
}
