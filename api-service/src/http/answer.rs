//! Answers that are written piece by piece, so that they are not in memory twice, and a client that reads slowly keeps
//! little of them waiting.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    http::header::ContentType,
};
use bytes::Bytes;
use serde::Serialize;
use service_kit::Reservation;

/// The most bytes that are handed to the connection at a time.
const CHUNK: usize = 64 << 10;

/// An answer's body in pieces, each made when those before it are on their way. What it needs room for has that room
/// until all of it is.
struct Pieces<I> {
    pieces: I,
    piece: Bytes,
    size: BodySize,
    _room: Option<Reservation>,
}

impl<I: Iterator<Item = Bytes> + Unpin> MessageBody for Pieces<I> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        while this.piece.is_empty() {
            match this.pieces.next() {
                Some(piece) => this.piece = piece,
                None => return Poll::Ready(None),
            }
        }
        let length = this.piece.len().min(CHUNK);
        Poll::Ready(Some(Ok(this.piece.split_to(length))))
    }
}

/// An answer that is one JSON value.
pub fn json(answer: HttpResponseBuilder, value: &impl Serialize, room: Option<Reservation>) -> HttpResponse {
    json_bytes(answer, piece(value), room)
}

/// An answer that is one JSON value, which is written already.
pub fn json_bytes(mut answer: HttpResponseBuilder, piece: Bytes, room: Option<Reservation>) -> HttpResponse {
    let size = BodySize::Sized(piece.len() as u64);
    answer.content_type(ContentType::json());
    answer.body(Pieces { pieces: std::iter::empty(), piece, size, _room: room })
}

/// An answer `{"<name>": [<items>]<rest>}`; each item is made into JSON, and let go, when its turn comes.
pub fn json_list<T: Unpin + 'static>(
    name: &str,
    items: Vec<T>,
    to_json: impl Fn(T) -> Bytes + Unpin + 'static,
    rest: &str,
    room: Option<Reservation>,
) -> HttpResponse {
    let (head, tail) = (format!("{{\"{name}\":["), format!("]{rest}}}"));
    let mut is_first = true;
    let items = items.into_iter().flat_map(move |item| {
        let comma = if std::mem::take(&mut is_first) { "" } else { "," };
        [Bytes::from_static(comma.as_bytes()), to_json(item)]
    });
    let pieces = std::iter::once(Bytes::from(head)).chain(items).chain(std::iter::once(Bytes::from(tail)));
    let pieces = Gathered { pieces: pieces.peekable() };
    let mut answer = HttpResponse::Ok();
    answer.content_type(ContentType::json());
    answer.body(Pieces { pieces, piece: Bytes::new(), size: BodySize::Stream, _room: room })
}

/// A value as JSON.
pub fn piece(value: &impl Serialize) -> Bytes {
    // No view of a job has keys that are no strings.
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}

/// Small pieces joined, so that each does not become a chunk of its own.
struct Gathered<I: Iterator<Item = Bytes>> {
    pieces: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = Bytes>> Iterator for Gathered<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let first = self.pieces.next()?;
        if first.len() >= CHUNK {
            return Some(first);
        }
        let mut gathered = Vec::from(first);
        while gathered.len() < CHUNK
            && let Some(next) = self.pieces.next_if(|next| next.len() < CHUNK)
        {
            gathered.extend_from_slice(&next);
        }
        Some(gathered.into())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn list(items: Vec<usize>) -> serde_json::Value {
        let answer = json_list("all", items, |length| piece(&"x".repeat(length)), ",\"next\":\"\"", None);
        let body = to_bytes(answer.into_body()).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[actix_web::test]
    async fn a_list_is_one_json_object() {
        for items in [vec![], vec![3], vec![1, 2, 3], vec![CHUNK + 1, 1, 3 * CHUNK, 1], vec![7; 50_000]] {
            let told = list(items.clone()).await;
            let lengths: Vec<usize> =
                told["all"].as_array().unwrap().iter().map(|item| item.as_str().unwrap().len()).collect();
            assert_eq!((lengths, told["next"].as_str()), (items, Some("")));
        }
    }
}
