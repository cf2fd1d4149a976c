//! Reading a request's body, with the room that it takes.

use std::{ops::Deref, time::Duration};

use actix_web::{HttpRequest, dev::Payload, http::header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use service_kit::Reservation;
use tokio::time::{Instant, timeout_at};

use super::{
    Mistakes, Problem,
    problem::types::{SLOW_BODY, UNSUPPORTED_MEDIA_TYPE},
    room::{self, SMALL},
};

/// How long a body of at most a MiB may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// How much longer it may take for each further MiB.
const PER_MIB: Duration = Duration::from_secs(1);

/// A request's body.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    room: Option<Reservation>,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body {
    /// The bytes, and the room that they have.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Option<Reservation>) {
        (self.bytes, self.room)
    }

    /// Lets the text go, and keeps the room for what was made of it; none where the body was small.
    #[must_use]
    pub fn into_room(self) -> Option<Reservation> {
        self.room
    }
}

/// Reads the whole body, of at most `limit` bytes. What is more than small waits for room before it is read on.
///
/// # Errors
/// 413, 408, 503 where there is no room, or 400 where the client breaks off.
pub async fn read_body(request: &HttpRequest, mut body: Payload, limit: usize) -> Result<Body, Problem> {
    let declared = declared(request);
    if declared.is_some_and(|declared| declared > limit) {
        return Err(Problem::too_large(limit));
    }
    let expected = declared.unwrap_or(limit);
    let (mut bytes, mut room) = (BytesMut::new(), None);
    let mut deadline = Instant::now() + BODY_DEADLINE;
    while let Some(chunk) = timeout_at(deadline, body.next()).await.map_err(|_| Problem::new(&SLOW_BODY))? {
        let chunk = chunk.map_err(|error| Mistakes::malformed(error.to_string()))?;
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(Problem::too_large(limit));
        }
        if room.is_none() && length > SMALL {
            let waited = Instant::now();
            room = Some(room::for_body(request, expected).await?);
            deadline += waited.elapsed() + PER_MIB * u32::try_from(expected >> 20).unwrap_or(0);
            bytes.reserve(expected.saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { bytes: bytes.freeze(), room })
}

fn declared(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the body of a request that has one, in JSON; its fields are looked at next.
///
/// # Errors
/// Those of [`read_body`]; 415 for another content type.
pub(super) async fn read_json(request: &HttpRequest, body: Payload, limit: usize) -> Result<Body, Problem> {
    check_content_type(request)?;
    read_body(request, body, limit).await
}

/// The same for a request that may have a body.
///
/// # Errors
/// Those of [`read_json`].
pub(super) async fn read_optional_json(
    request: &HttpRequest,
    body: Payload,
    limit: usize,
) -> Result<Option<Body>, Problem> {
    let body = read_body(request, body, limit).await?;
    if body.is_empty() {
        return Ok(None);
    }
    check_content_type(request)?;
    Ok(Some(body))
}

/// Reads the body of a request that has lines of JSON.
///
/// # Errors
/// Those of [`read_json`].
pub(super) async fn read_lines(request: &HttpRequest, body: Payload, limit: usize) -> Result<Body, Problem> {
    let names = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
    if !names.iter().any(|name| content_type(request).eq_ignore_ascii_case(name)) {
        return Err(Problem::new(&UNSUPPORTED_MEDIA_TYPE));
    }
    read_body(request, body, limit).await
}

/// Without its parameters.
fn content_type(request: &HttpRequest) -> &str {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let essence = content_type(request);
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json"));
    if is_json { Ok(()) } else { Err(Problem::new(&UNSUPPORTED_MEDIA_TYPE)) }
}
