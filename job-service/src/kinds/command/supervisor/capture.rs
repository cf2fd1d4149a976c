//! An output of a program, read as it comes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::kinds::output::{RecentLines, Tail};

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
