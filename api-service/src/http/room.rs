//! Room for what requests bring and what answers take along: how many bytes of either may be in memory at once.

use std::time::Duration;

use actix_web::{HttpRequest, web::Data};
use service_kit::{ByteBudget, Reservation};

use super::Problem;

/// A body or an answer up to this size needs no room of its own, so that a small request never waits for large ones.
pub(super) const SMALL: usize = 64 << 10;

/// The largest body of a single job. What is larger has room of its own, so that jobs do not wait for batches.
const SINGLE: usize = 1 << 20;

/// The bytes of all bodies of single jobs, and of all batches, that are being taken. What is made of a body is as large
/// again.
const BODIES: usize = 32 << 20;

/// The bytes of all answers that show single jobs or lists without payloads, and of all pages of jobs with payloads,
/// until they are on their way. Each has its own, since a client may read as slowly as it likes.
const ANSWERS: usize = 32 << 20;

/// The bytes of all single jobs that are being read, before it is known how large each is.
const READS: usize = 64 << 20;

/// The most that one of them has: a payload, a result or the output of an attempt that is to be followed by another, and
/// its attempts.
const LARGEST_READ: usize = 2 << 20;

/// How long a request waits for room before it is told to come again.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub struct Room {
    singles: ByteBudget,
    batches: ByteBudget,
    answers: ByteBudget,
    reads: ByteBudget,
    pages: ByteBudget,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            singles: ByteBudget::new(BODIES),
            batches: ByteBudget::new(BODIES),
            answers: ByteBudget::new(ANSWERS),
            reads: ByteBudget::new(READS),
            pages: ByteBudget::new(ANSWERS),
        }
    }
}

impl Room {
    fn of(request: &HttpRequest) -> Self {
        // Without the server's there is nobody to share with: a test of one route.
        request.app_data::<Data<Self>>().map_or_else(Self::default, |room| room.get_ref().clone())
    }
}

/// Room for a body of so many bytes.
///
/// # Errors
/// 503 where there is none for long.
pub(super) async fn for_body(request: &HttpRequest, bytes: usize) -> Result<Reservation, Problem> {
    let room = Room::of(request);
    let budget = if bytes > SINGLE { room.batches } else { room.singles };
    budget.take_within(bytes, ROOM_TIMEOUT).await.ok_or_else(no_room)
}

/// Room for an answer of so many bytes, where it needs any.
///
/// # Errors
/// 503 where there is none for long.
pub async fn for_answer(request: &HttpRequest, bytes: usize) -> Result<Option<Reservation>, Problem> {
    if bytes <= SMALL {
        return Ok(None);
    }
    Room::of(request).answers.take_within(bytes, ROOM_TIMEOUT).await.ok_or_else(no_room).map(Some)
}

/// Room for one job, to be taken before it is read; give back what it does not need when its size is known.
///
/// # Errors
/// 503 where there is none for long.
pub async fn for_read(request: &HttpRequest) -> Result<Reservation, Problem> {
    Room::of(request).reads.take_within(LARGEST_READ, ROOM_TIMEOUT).await.ok_or_else(no_room)
}

/// Room for so many bytes of jobs that are read together with their payloads.
///
/// # Errors
/// 503 where there is none for long.
pub async fn for_page(request: &HttpRequest, bytes: usize) -> Result<Reservation, Problem> {
    Room::of(request).pages.take_within(bytes, ROOM_TIMEOUT).await.ok_or_else(no_room)
}

fn no_room() -> Problem {
    Problem::unavailable("too many large requests are being served")
}
