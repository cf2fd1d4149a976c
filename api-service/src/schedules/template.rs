//! The job that a schedule creates, again and again.

use shared_events::JsonText;

use crate::{
    http::read::{Fields, Mistake, MistakeCode, read_json_object},
    jobs::NewJob,
};

/// The body of `POST /v1/jobs`, as it was sent, and checked as it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: JsonText,
    new_job: NewJob,
}

impl Template {
    /// The field of that name; says what is wrong with it by the names of its own fields, such as `template.kind`.
    pub(super) fn read(fields: &mut Fields<'_>, name: &str) -> Option<Self> {
        let Some(json) = fields.json(name) else {
            fields.wrong(name, Mistake::new(MistakeCode::Required, "is required"));
            return None;
        };
        if !json.get().starts_with('{') {
            fields.wrong(name, Mistake::new(MistakeCode::WrongType, "must be an object"));
            return None;
        }
        let mistakes = match read_json_object(json.get().as_bytes()) {
            Ok(new_job) => return Some(Self { text: JsonText::from(json), new_job }),
            Err(mistakes) => mistakes,
        };
        let (errors, _, malformed) = mistakes.into_parts();
        for error in errors {
            let mistake = Mistake::new(error.code, error.message);
            fields.wrong(format!("{name}.{}", error.field), mistake);
        }
        if let Some(why) = malformed {
            fields.wrong(name, Mistake::new(MistakeCode::WrongFormat, why));
        }
        None
    }

    /// What was stored; none where this version can not read it.
    pub(super) fn from_stored(text: String) -> Option<Self> {
        let new_job = read_json_object(text.as_bytes()).ok()?;
        Some(Self { text: JsonText::from_stored(text).ok()?, new_job })
    }

    /// The job.
    #[must_use]
    pub const fn new_job(&self) -> &NewJob {
        &self.new_job
    }

    /// As it was sent.
    #[must_use]
    pub const fn text(&self) -> &JsonText {
        &self.text
    }
}
