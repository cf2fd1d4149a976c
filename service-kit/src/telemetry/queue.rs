//! Lines that wait to be sent or written: so many bytes, and those that find no room are counted.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::metrics::LOG_LINES_DROPPED;

/// What a line takes besides its own bytes.
const OVERHEAD: usize = 64;

/// The pause between tries when the end of the process waits for them.
const MOMENT: Duration = Duration::from_millis(50);

/// See the module. One thread takes lines out, any number puts them in.
#[derive(Debug)]
pub(super) struct Queue {
    to: &'static str,
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// Lines that found no room, of which nobody was told.
    dropped: u64,
    /// Set when nothing more comes: until when what waits may be taken.
    closes_at: Option<Instant>,
    /// Whoever takes lines has ended.
    ended: bool,
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.closes_at.is_some_and(|closes_at| self.lines.is_empty() || Instant::now() >= closes_at)
    }
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this line.
    Line(Arc<[u8]>),
    /// Nothing has come in this time.
    Nothing,
    /// Nothing more is to be sent.
    Over,
}

impl Queue {
    /// With room for so many bytes; `to` is where they go, for metrics.
    pub(super) fn new(to: &'static str, max_bytes: usize) -> Self {
        Self { to, max_bytes, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a line, if there is room. Lines beyond that are dropped, the latest first.
    pub(super) fn push(&self, line: Arc<[u8]>) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + line.len() + OVERHEAD;
        if bytes > self.max_bytes {
            waiting.dropped += 1;
            drop(waiting);
            LOG_LINES_DROPPED.add([self.to], 1);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.bytes = bytes;
        waiting.lines.push_back(line);
        drop(waiting);
        if was_empty {
            self.changed.notify_all();
        }
    }

    /// Takes the first line, and waits for one for `patience` at most.
    pub(super) fn take(&self, patience: Duration) -> Next {
        let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && waiting.closes_at.is_none();
        let (mut waiting, _) = self
            .changed
            .wait_timeout_while(self.lock(), patience, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.is_over() {
            return Next::Over;
        }
        let Some(line) = waiting.lines.pop_front() else { return Next::Nothing };
        waiting.bytes -= line.len() + OVERHEAD;
        Next::Line(line)
    }

    /// A line that was taken could not be sent, and is the first again.
    pub(super) fn put_back(&self, line: Arc<[u8]>) {
        let mut waiting = self.lock();
        waiting.bytes += line.len() + OVERHEAD;
        waiting.lines.push_front(line);
    }

    /// A line that was taken was not written, and does not come again.
    pub(super) fn has_lost_one(&self) {
        self.lock().dropped += 1;
        LOG_LINES_DROPPED.add([self.to], 1);
    }

    /// How many lines were dropped of which nobody was told.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The same, once half of the queue is free: a line that says so finds room, and is told of no more.
    pub(super) fn take_dropped(&self) -> u64 {
        let mut waiting = self.lock();
        if waiting.bytes > self.max_bytes / 2 {
            return 0;
        }
        std::mem::take(&mut waiting.dropped)
    }

    /// Rests for so long; once nothing more comes, for a moment at most.
    pub(super) fn rest(&self, pause: Duration) {
        let rest = |waiting, pause, until_closed: bool| {
            let goes_on = |waiting: &mut Waiting| !until_closed || waiting.closes_at.is_none();
            let rested = self.changed.wait_timeout_while(waiting, pause, goes_on);
            rested.unwrap_or_else(PoisonError::into_inner)
        };
        let (waiting, rested) = rest(self.lock(), pause, true);
        if !rested.timed_out() {
            drop(rest(waiting, pause.min(MOMENT), false));
        }
    }

    /// Nothing more comes; what waits may be taken for so long.
    pub(super) fn close(&self, patience: Duration) {
        self.lock().closes_at = Some(Instant::now() + patience);
        self.changed.notify_all();
    }

    /// Whether nothing more is to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// Whoever takes lines says that this is its end.
    pub(super) fn has_ended(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for that, no longer than [`Self::close`] said.
    pub(super) fn wait_for_end(&self) {
        let waiting = self.lock();
        let left = waiting.closes_at.map(|at| at.saturating_duration_since(Instant::now()));
        let ended =
            self.changed.wait_timeout_while(waiting, left.unwrap_or_default(), |waiting| !waiting.ended);
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn lines_keep_their_order_also_when_one_comes_back() {
        let queue = Queue::new("tcp", 1000);
        queue.push(line("a"));
        queue.push(line("b"));
        let Next::Line(first) = queue.take(Duration::ZERO) else { panic!("there is one") };
        queue.put_back(first);
        for expected in ["a", "b"] {
            assert_eq!(queue.take(Duration::ZERO), Next::Line(line(expected)));
        }
        assert_eq!(queue.take(Duration::ZERO), Next::Nothing);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_once_there_is_some() {
        let ten_lines = 10 * (100 + OVERHEAD);
        let queue = Queue::new("tcp", ten_lines);
        for _ in 0..13 {
            queue.push(line(&"x".repeat(100)));
        }
        assert_eq!((queue.dropped(), queue.take_dropped()), (3, 0));
        for _ in 0..5 {
            assert!(matches!(queue.take(Duration::ZERO), Next::Line(_)));
        }
        queue.has_lost_one();
        assert_eq!((queue.take_dropped(), queue.take_dropped(), queue.dropped()), (4, 0, 0));
    }

    #[test]
    fn what_waits_at_the_end_may_be_taken_until_its_time_is_over() {
        let queue = Queue::new("tcp", 1000);
        queue.push(line("a"));
        queue.close(Duration::from_secs(60));
        assert!(!queue.is_over());
        assert_eq!(queue.take(Duration::ZERO), Next::Line(line("a")));
        assert_eq!((queue.is_over(), queue.take(Duration::ZERO)), (true, Next::Over));

        let queue = Queue::new("tcp", 1000);
        queue.push(line("a"));
        queue.close(Duration::ZERO);
        assert_eq!((queue.is_over(), queue.take(Duration::ZERO)), (true, Next::Over));
        // Nobody ever takes what is left, and nobody waits for that.
        queue.wait_for_end();
    }
}
