//! Headers that a request may have besides those that it needs.

use rand::RngExt;
use rand::rngs::StdRng;

/// A header, and the statuses that it may lead to.
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) value: Vec<u8>,
    pub(crate) also: &'static [u16],
}

impl Header {
    pub(crate) fn generate(random: &mut StdRng) -> Self {
        let of = |name, value: &str, also| Self { name, value: value.as_bytes().to_vec(), also };
        let bytes = |name, value: &[u8], also| Self { name, value: value.to_vec(), also };
        let key = format!("key-{}", random.random_range(0..20_u32));
        // A header that is not valid is refused before anything else is looked at, or passed over.
        let known = [
            of("Idempotency-Key", &key, &[]),
            of("Idempotency-Key", &key, &[]),
            of("Idempotency-Key", &"x".repeat(300), &[]),
            bytes("Idempotency-Key", b"a\xff", &[]),
            bytes("Idempotency-Key", b"a\x01b", &[400]),
            of("Idempotency-Key", "", &[]),
            of("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &[]),
            of("traceparent", "00-zz", &[]),
            bytes("traceparent", b"\x80\x7f", &[400]),
            of("X-Request-Id", "mine-1", &[]),
            of("X-Request-Id", &"x".repeat(500), &[]),
            bytes("X-Request-Id", b"\"\\\x01\xff", &[]),
            of("Origin", "http://hasty.example", &[]),
            of("Origin", "https://elsewhere.example", &[]),
            of("Origin", "null", &[]),
            bytes("Origin", b"http://\x00", &[400]),
            bytes("Origin", b"http://\x1f", &[400]),
            of("Sec-Fetch-Site", "cross-site", &[]),
            of("Sec-Fetch-Site", "same-origin", &[]),
            of("Access-Control-Request-Method", "DELETE", &[]),
            of("Range", "bytes=0-1,5-", &[]),
            of("If-Match", "\"x\"", &[]),
            of("If-Match", "*", &[]),
            of("Cache-Control", "no-cache", &[]),
            bytes("Cache-Control", b"no-cache\x01", &[400]),
            of("If-None-Match", "*", &[]),
            of("If-Unmodified-Since", "Tue, 01 Jan 1991 00:00:00 GMT", &[]),
            of("Expect", "100-continue", &[]),
            of("Expect", "the unexpected", &[]),
            of("Accept", "text/html;q=x", &[]),
            of("Accept-Encoding", "gzip", &[]),
            of("Content-Encoding", "gzip", &[]),
            of("Cookie", &"x".repeat(10_000), &[]),
            of("Cookie", &"x".repeat(40_000), &[400, 431]),
            of("Upgrade", "websocket", &[]),
            of("TE", "trailers", &[]),
            of("Max-Forwards", "0", &[]),
            of("X-Forwarded-For", "::1", &[]),
            of("X-Forwarded-Host", "elsewhere.example", &[]),
            of("X-HTTP-Method-Override", "DELETE", &[]),
            bytes("X-Odd", b"\x01\x02\x7f\xff", &[]),
            bytes("X-Zero", b"a\0b", &[400]),
            of("X Odd", "a", &[400]),
            of("", "a", &[400]),
            // A hundred and fifty more.
            of("X-Many", &"1\r\nX-Many: ".repeat(150), &[]),
        ];
        let mut known = Vec::from(known);
        known.swap_remove(random.random_range(0..known.len()))
    }
}
