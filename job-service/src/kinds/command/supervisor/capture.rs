//! The end of what a program writes, however much it is.

use std::{collections::VecDeque, io};

use shared_events::Captured;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::lines::RecentLines;

/// The last bytes of an output, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Tail {
    last: VecDeque<u8>,
    bytes: u64,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(Captured::MAX_BYTES)..];
        let surplus = (self.last.len() + bytes.len()).saturating_sub(Captured::MAX_BYTES);
        self.last.drain(..surplus);
        self.last.extend(bytes);
    }

    /// As it is shown.
    pub(super) fn captured(&mut self) -> Captured {
        Captured::new(self.last.make_contiguous(), self.bytes)
    }
}

/// An output that is read as it comes, so that its writer never waits.
#[derive(Debug)]
pub(super) struct Capture<R> {
    from: Option<R>,
    buffer: Vec<u8>,
    pub(super) tail: Tail,
    pub(super) lines: RecentLines,
}

impl<R: AsyncRead + Unpin> Capture<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from: Some(from),
            buffer: vec![0; 64 << 10],
            tail: Tail::default(),
            lines: RecentLines::default(),
        }
    }

    /// Reads what is there next; waits for ever once it is at its end.
    pub(super) async fn read(&mut self) {
        let Some(from) = &mut self.from else { return std::future::pending().await };
        match from.read(&mut self.buffer).await {
            Ok(0) => self.from = None,
            Ok(count) => {
                self.tail.add(&self.buffer[..count]);
                self.lines.add(&self.buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.from = None,
        }
    }

    /// Whether all writers have closed it.
    pub(super) const fn is_at_end(&self) -> bool {
        self.from.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_all_are_counted() {
        let mut tail = Tail::default();
        tail.add(b"first ");
        tail.add(&vec![b'x'; Captured::MAX_BYTES - 3]);
        tail.add(b"end");
        let captured = tail.captured();
        assert_eq!(
            (captured.text.len(), captured.bytes),
            (Captured::MAX_BYTES, Captured::MAX_BYTES as u64 + 6)
        );
        assert!(captured.cut && captured.text.starts_with('x') && captured.text.ends_with("xend"));
        tail.add(&vec![b'y'; 3 * Captured::MAX_BYTES]);
        assert_eq!(tail.captured().text, "y".repeat(Captured::MAX_BYTES));
    }

    #[tokio::test]
    async fn an_output_is_read_to_its_end() {
        let mut capture = Capture::new(&b"all of it"[..]);
        while !capture.is_at_end() {
            capture.read().await;
        }
        let captured = capture.tail.captured();
        assert_eq!((captured.text.as_str(), captured.cut), ("all of it", false));
    }
}
