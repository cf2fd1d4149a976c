//! The broker's files: copied while it stands still, and put back while it is down.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::App;

/// An older copy of a stream, with what its consumers had acked.
pub(super) struct StreamCopy {
    stream: &'static str,
    folder: tempfile::TempDir,
}

impl StreamCopy {
    pub(super) async fn of(app: &App, stream: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nats = app.stack().nats();
        // What it has acknowledged is in its files after a stop, not before.
        nats.restart().await.unwrap();
        assert!(nats.pause());
        copy(&stream_folder(app, stream), folder.path());
        assert!(nats.resume());
        Self { stream, folder }
    }

    /// Sets the stream back to the copy.
    pub(super) async fn put_back(&self, app: &App) {
        let nats = app.stack().nats();
        nats.terminate().await.unwrap();
        replace(self.folder.path(), &stream_folder(app, self.stream));
        nats.start().await.unwrap();
    }
}

/// The whole store.
pub(super) fn store(app: &App) -> PathBuf {
    app.stack().folder().join("nats/jetstream")
}

/// What is stored of one stream: its messages in `msgs`, its consumers in `obs`.
pub(super) fn stream_folder(app: &App, stream: &str) -> PathBuf {
    store(app).join("jetstream/$G/streams").join(stream)
}

/// Has nothing but the copy of `from` in `to`.
pub(super) fn replace(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
