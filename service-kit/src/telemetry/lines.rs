//! From the formatter into queues, and to standard output: a line is one write, whatever parts it comes in.

use std::{
    cell::Cell,
    io::{self, Write},
    mem,
    sync::Arc,
};

use tracing_subscriber::fmt::MakeWriter;

use super::queue::Queue;

thread_local! {
    /// Set in threads that empty a queue: what they log would have no end in it.
    static EMPTIES: Cell<bool> = const { Cell::new(false) };
}

/// Has nothing that this thread logs go into a queue; it goes to standard output alone.
pub(super) fn keep_out_of_queues() {
    EMPTIES.set(true);
}

/// Has what `log` logs go into queues all the same.
pub(super) fn also_into_queues(log: impl FnOnce()) {
    let was = EMPTIES.replace(false);
    log();
    EMPTIES.set(was);
}

/// Takes lines for all of these queues.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queues: Vec<Arc<Queue>>,
    stdout: bool,
}

impl Lines {
    /// Takes lines for all of these queues, and for standard output.
    pub(super) const fn to(queues: Vec<Arc<Queue>>, stdout: bool) -> Self {
        Self { queues, stdout }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        let queues: &[Arc<Queue>] = if EMPTIES.get() { &[] } else { &self.queues };
        Line { queues, stdout: self.stdout, bytes: Vec::new() }
    }
}

/// A line that is being written.
#[derive(Debug)]
pub(super) struct Line<'a> {
    queues: &'a [Arc<Queue>],
    stdout: bool,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.stdout {
            // Where nobody reads it there is nobody to tell.
            let _ = io::stdout().write_all(&self.bytes);
        }
        if self.bytes.is_empty() || self.queues.is_empty() {
            return;
        }
        let line: Arc<[u8]> = mem::take(&mut self.bytes).into();
        for queue in self.queues {
            queue.push(Arc::clone(&line));
        }
    }
}
