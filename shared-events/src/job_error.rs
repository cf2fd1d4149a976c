//! What went wrong with an attempt, within limits that keep every event small enough for the broker.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// For programs: `panic`, `unknown_kind`, `lease_lost`, or the handler's own; at most
    /// [`JobError::MAX_CODE_BYTES`] bytes.
    pub code: String,
    /// For people; at most [`JobError::MAX_MESSAGE_BYTES`] bytes.
    pub message: String,
}

impl JobError {
    /// The longest code, in bytes as JSON writes it; more is cut off.
    pub const MAX_CODE_BYTES: usize = 128;

    /// The longest message, in bytes as JSON writes it, where a control character takes six; more is cut off, and the
    /// message then ends in `… (cut)`.
    pub const MAX_MESSAGE_BYTES: usize = 4096;

    /// An error, [within its limits](Self::within_limits).
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }.within_limits()
    }

    /// The same error, cut at a character's end where it is too long.
    #[must_use]
    pub fn within_limits(self) -> Self {
        Self {
            code: cut(self.code, Self::MAX_CODE_BYTES, ""),
            message: cut(self.message, Self::MAX_MESSAGE_BYTES, CUT),
        }
    }
}

/// What a text ends in that was cut.
pub(crate) const CUT: &str = "… (cut)";

/// The text, if JSON writes it in at most `most` bytes; else as much of it as fits, and `mark`.
pub(crate) fn cut(mut text: String, most: usize, mark: &str) -> String {
    if encoded_len(&text) <= most {
        return text;
    }
    let mut left = most.saturating_sub(encoded_len(mark));
    let end = text.char_indices().find(|(_, character)| match left.checked_sub(encoded(*character)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    text.truncate(end.map_or(text.len(), |(at, _)| at));
    text.push_str(mark);
    text
}

/// How many bytes JSON takes for the text between its quotes.
pub(crate) fn encoded_len(text: &str) -> usize {
    text.chars().map(encoded).sum()
}

/// How many bytes JSON takes for the character within a string.
pub(crate) fn encoded(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_says_so_and_is_not_cut_again() {
        let error = JobError::new("code", "x".repeat(5000));
        assert!(error.message.ends_with("x… (cut)") && error.message.len() == JobError::MAX_MESSAGE_BYTES);
        assert_eq!(error.clone().within_limits(), error);
        assert_eq!(JobError::new("code", "x".repeat(4096)).message, "x".repeat(4096));
    }

    proptest! {
        #[test]
        fn an_error_is_within_its_limits_as_json_writes_it(message in "[\\x00-\\x7f\u{80}-\u{10ffff}]{0,300}", times in 1_usize..40) {
            let message = message.repeat(times);
            let error = JobError::new("code", message.clone());
            let written = serde_json::to_string(&error.message).unwrap().len() - 2;
            prop_assert!(written <= JobError::MAX_MESSAGE_BYTES);
            prop_assert_eq!(written, encoded_len(&error.message));
            let kept = error.message.strip_suffix("… (cut)").unwrap_or(&error.message);
            prop_assert!(message.starts_with(kept));
        }
    }
}
