//! The last lines of an output since they were taken last, for those who watch. However much is written, little is kept.

use std::collections::VecDeque;

/// The most lines that are kept.
const LINES: usize = 200;

/// The most bytes that are looked at from one refill to the next. What a flood has more is left out here.
const BUDGET: usize = 256 << 10;

/// The most bytes of a line; more is left out.
const LINE_BYTES: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(in super::super) struct RecentLines {
    lines: VecDeque<String>,
    /// The beginning of the line that is not at its end yet.
    begun: Vec<u8>,
    /// How many bytes may still be looked at.
    budget: usize,
    /// Whether something was left out, and with it the beginning of the next line.
    is_broken: bool,
}

impl Default for RecentLines {
    fn default() -> Self {
        Self { lines: VecDeque::new(), begun: Vec::new(), budget: BUDGET, is_broken: false }
    }
}

impl RecentLines {
    /// Takes in what was written next.
    pub(in super::super) fn add(&mut self, bytes: &[u8]) {
        let Some(budget) = self.budget.checked_sub(bytes.len()) else {
            self.begun.clear();
            self.is_broken = true;
            return;
        };
        self.budget = budget;
        let bytes = if self.is_broken {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
            self.is_broken = false;
            &bytes[end + 1..]
        } else {
            bytes
        };
        let mut parts = bytes.split(|byte| *byte == b'\n');
        let first = parts.next().unwrap_or_default();
        self.begin(first);
        // Of the others the last ones are enough.
        let rest: Vec<&[u8]> = parts.collect();
        let Some((open, whole)) = rest.split_last() else { return };
        self.end();
        for line in &whole[whole.len().saturating_sub(LINES)..] {
            self.begin(line);
            self.end();
        }
        self.begin(open);
    }

    /// From time to time more may be looked at.
    pub(in super::super) fn refill(&mut self) {
        self.budget = BUDGET;
    }

    /// The lines since this was asked last; with what was begun where there comes no more.
    pub(in super::super) fn take(&mut self, is_over: bool) -> Vec<String> {
        if is_over && !self.begun.is_empty() {
            self.end();
        }
        self.lines.drain(..).collect()
    }

    /// Whether there are any.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn begin(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end(&mut self) {
        let line = String::from_utf8_lossy(&self.begun).trim_end_matches('\r').to_owned();
        self.begun.clear();
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_may_come_in_pieces_and_the_last_has_no_end() {
        let mut lines = RecentLines::default();
        lines.add(b"on");
        lines.add(b"e\r\n\ntw");
        assert_eq!(lines.take(false), ["one", ""]);
        lines.add(b"o");
        assert!(lines.is_empty() && lines.take(false).is_empty());
        assert_eq!(lines.take(true), ["two"]);
        assert!(lines.take(true).is_empty());
    }

    #[test]
    fn of_many_the_last_are_kept_and_of_a_long_one_the_beginning() {
        let mut lines = RecentLines::default();
        let many: String = (0..1000).map(|number| format!("{number}\n")).collect();
        lines.add(many.as_bytes());
        let kept = lines.take(false);
        assert_eq!((kept.len(), kept[0].as_str(), kept[LINES - 1].as_str()), (LINES, "800", "999"));
        lines.add(&vec![b'x'; 100_000]);
        lines.add(b"\n");
        assert_eq!(lines.take(false), ["x".repeat(LINE_BYTES)]);
    }

    #[test]
    fn what_a_flood_has_more_is_left_out_and_whole_lines_follow() {
        let mut lines = RecentLines::default();
        lines.add(b"whole\nbeg");
        lines.add(&vec![b'\n'; BUDGET]);
        lines.add(b"the end of one that began there\nnext\n");
        assert_eq!(lines.take(false), ["whole", "next"]);
        lines.add(&vec![b'x'; BUDGET - 20]);
        assert!(lines.begun.is_empty(), "the budget is used up");
        lines.refill();
        lines.add(b"x\nagain\n");
        assert_eq!(lines.take(true), ["again"]);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_lines_as_the_whole(text in "[a\\n]{0,60}", at in 0_usize..60) {
            let (mut whole, mut pieces) = (RecentLines::default(), RecentLines::default());
            let at = at.min(text.len());
            whole.add(text.as_bytes());
            pieces.add(&text.as_bytes()[..at]);
            pieces.add(&text.as_bytes()[at..]);
            prop_assert_eq!(whole.take(true), pieces.take(true));
        }
    }
}
