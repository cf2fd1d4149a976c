//! What a process printed: a file in the stack's folder, the last lines in memory, and a callback for each line.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const LINES_IN_MEMORY: usize = 2_000;

/// Is handed every line that any process of the stack prints: the process's name and the line.
pub type Sink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The output of one process, stdout and stderr together, over all its restarts.
pub struct Log {
    name: String,
    path: PathBuf,
    kept: Mutex<Kept>,
    sink: Option<Sink>,
}

struct Kept {
    file: File,
    last: VecDeque<String>,
}

impl Log {
    pub(crate) fn open(name: &str, path: PathBuf, sink: Option<Sink>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { name: name.to_owned(), path, kept: Mutex::new(Kept { file, last: VecDeque::new() }), sink })
    }

    /// The file that has all of it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines still in memory, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.kept().last.iter().cloned().collect()
    }

    /// The last `n` lines, each indented, for a failure's message.
    pub fn tail(&self, n: usize) -> String {
        let kept = self.kept();
        let skipped = kept.last.len().saturating_sub(n);
        kept.last.iter().skip(skipped).map(|line| format!("    {line}\n")).collect()
    }

    /// Whether a line in memory contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.kept().last.iter().any(|line| line.contains(text))
    }

    /// Takes lines until the pipe's other end is closed.
    pub(super) fn follow(&self, pipe: PipeReader) {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut bytes), Ok(1..)) {
            self.add(String::from_utf8_lossy(&bytes).trim_end().to_owned());
            bytes.clear();
        }
    }

    fn add(&self, line: String) {
        if let Some(sink) = &self.sink {
            sink(&self.name, &line);
        }
        let mut kept = self.kept();
        // A full disk must not stop the process whose output this is.
        let _ = writeln!(kept.file, "{line}");
        if kept.last.len() == LINES_IN_MEMORY {
            kept.last.pop_front();
        }
        kept.last.push_back(line);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).field("path", &self.path).finish_non_exhaustive()
    }
}
