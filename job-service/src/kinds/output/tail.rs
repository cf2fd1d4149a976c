//! The end of what a program writes, however much it is.

use std::collections::VecDeque;

use shared_events::Captured;

/// The last bytes of an output, and how many there were.
#[derive(Debug, Default)]
pub(in super::super) struct Tail {
    last: VecDeque<u8>,
    bytes: u64,
}

impl Tail {
    /// Takes in what was written next.
    pub(in super::super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(Captured::MAX_BYTES)..];
        let surplus = (self.last.len() + bytes.len()).saturating_sub(Captured::MAX_BYTES);
        self.last.drain(..surplus);
        self.last.extend(bytes);
    }

    /// As it is shown.
    pub(in super::super) fn captured(&mut self) -> Captured {
        Captured::new(self.last.make_contiguous(), self.bytes)
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
}
