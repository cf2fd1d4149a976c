//! Several events in one message: CloudEvents' JSON batch format, a list of events.
//!
//! A message is a batch if its body is a list: no event starts with `[`. The header `Content-Type` says so too
//! (`application/cloudevents-batch+json`), but nobody here relies on it, since a body that was kept or sent again by
//! hand may have lost it.
//!
//! Source: CloudEvents JSON event format 1.0.2, section 4.

use serde_json::value::RawValue;

use crate::DecodeError;

/// The most events of one message. Far more than any version writes; it bounds what one message can make.
pub const MAX_EVENTS: usize = 1000;

/// Whether a message holds a list of events, however long.
#[must_use]
pub fn is_batch(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"[")
}

/// The bodies of the events in a message: itself, or the members of the list, in their order and at least one. A
/// member that is itself a list is no event, which is found out when it is decoded.
///
/// # Errors
/// [`DecodeError::NotAnEvent`] for a list that is broken, empty or longer than [`MAX_EVENTS`].
pub fn events(body: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    if !is_batch(body) {
        return Ok(vec![body]);
    }
    let members: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|error| DecodeError::NotAnEvent(error.to_string()))?;
    match members.len() {
        0 => Err(DecodeError::NotAnEvent("a batch without events".to_owned())),
        1..=MAX_EVENTS => Ok(members.into_iter().map(|member| member.get().as_bytes()).collect()),
        more => Err(DecodeError::NotAnEvent(format!("a batch of {more} events, more than {MAX_EVENTS}"))),
    }
}
