//! Log lines into files: one a day for each service, in UTC, of which the latest are kept.

use std::{
    io::Write,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tracing::warn;
use tracing_appender::rolling::{Builder, RollingFileAppender, Rotation};

use super::{
    lines::{also_into_queues, keep_out_of_queues},
    queue::{Next, Queue},
};

/// How often trouble is told at most.
const TELL: Duration = Duration::from_secs(60);

/// Starts the thread that writes files named `<service>.<date>.jsonl`. At least `days` of them are kept.
///
/// # Errors
/// Where there can be no such file, or the system has no thread for it.
pub(super) fn start(dir: &Path, service: &str, days: usize, max_bytes: usize) -> anyhow::Result<Arc<Queue>> {
    std::fs::create_dir_all(dir)?;
    let files = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix(service)
        .filename_suffix("jsonl")
        // It makes room for one more at each start too, when today's may be there already; with one less it would remove
        // today's, which another replica may be writing.
        .max_log_files(days + 1)
        .build(dir)?;
    let queue = Arc::new(Queue::new("files", max_bytes));
    let taken = Arc::clone(&queue);
    thread::Builder::new().name("log-files".to_owned()).spawn(move || {
        keep_out_of_queues();
        write(&taken, files);
        taken.has_ended();
    })?;
    Ok(queue)
}

/// Writes what comes, until nothing more does. What can not be written, to a disk that is full, is counted.
fn write(queue: &Queue, mut files: RollingFileAppender) {
    let mut told_at: Option<Instant> = None;
    loop {
        match queue.take(TELL) {
            Next::Line(line) => {
                if let Err(error) = files.write_all(&line) {
                    queue.has_lost_one();
                    if told_at.is_none_or(|told| told.elapsed() > TELL) {
                        warn!(%error, dropped = queue.dropped(), "could not write log lines to LOG_DIR");
                        told_at = Some(Instant::now());
                    }
                    continue;
                }
            }
            Next::Nothing => {}
            Next::Over => return,
        }
        let dropped = queue.take_dropped();
        if dropped > 0 {
            also_into_queues(|| warn!(dropped, "log lines were not written: LOG_DIR was full or too slow"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_in_todays_file_at_the_end_and_a_restart_goes_on_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("api-service.2000-01-01.jsonl");
        fs::write(&old, "old\n").unwrap();
        for text in ["one\n", "two\n"] {
            let queue = start(folder.path(), "api-service", 1, 1000).unwrap();
            queue.push(text.as_bytes().into());
            queue.close(Duration::from_secs(60));
            queue.wait_for_end();
        }
        // The second start has removed what is older than the one day that is kept.
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_ne!(left[0], old);
        assert_eq!(fs::read_to_string(&left[0]).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_folder_that_can_not_be_is_told_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(start(file.path(), "api-service", 1, 1000).is_err());
    }
}
