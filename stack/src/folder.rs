//! The folder that a stack keeps everything in: given, and then kept, or temporary, and then removed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

const PREFIX: &str = "hasty-";
const LOCK: &str = "stack.lock";

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    temporary: Mutex<Option<TempDir>>,
    /// One stack per folder; and it shows that a temporary folder's stack is alive.
    _lock: File,
}

impl Folder {
    /// Opens the given folder, or a temporary one.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self> {
        let (path, temporary) = match given {
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("could not create {}", path.display()))?;
                (path.canonicalize()?, None)
            }
            None => {
                remove_left_behind(&std::env::temp_dir());
                let temporary = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
                (temporary.path().canonicalize()?, Some(temporary))
            }
        };
        let lock =
            File::create(path.join(LOCK)).with_context(|| format!("cannot write to {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!("{} is in use by another stack", path.display());
        }
        Ok(Self { path, temporary: Mutex::new(temporary), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary().is_some()
    }

    /// A folder inside it.
    pub(crate) fn sub(&self, name: &str) -> Result<PathBuf> {
        let sub = self.path.join(name);
        fs::create_dir_all(&sub).with_context(|| format!("could not create {}", sub.display()))?;
        Ok(sub)
    }

    /// Where each process has its log.
    pub(crate) fn logs(&self) -> Result<PathBuf> {
        self.sub("logs")
    }

    /// Makes a temporary folder one that stays, also when later stacks clean up behind dead ones.
    pub(crate) fn keep(&self) -> &Path {
        if let Some(temporary) = self.temporary().take() {
            let kept = temporary.keep();
            let _ = fs::remove_file(kept.join(LOCK));
        }
        &self.path
    }

    /// Removes a temporary folder, and says so when it cannot.
    pub(crate) fn close(&self) -> Result<()> {
        let removed = self.temporary().take().map_or(Ok(()), TempDir::close);
        removed.with_context(|| format!("could not remove {}", self.path.display()))
    }

    fn temporary(&self) -> MutexGuard<'_, Option<TempDir>> {
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the temporary folders of stacks that were killed before they could.
fn remove_left_behind(temp: &Path) {
    for entry in fs::read_dir(temp).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && is_left_behind(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left_behind(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else { return false };
    // One that is just being made may not be locked yet.
    let age = lock.metadata().and_then(|meta| meta.modified()).ok().and_then(|made| made.elapsed().ok());
    let settled = age.is_some_and(|age| age > Duration::from_secs(60));
    settled && !matches!(lock.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_and_a_given_one_stays() {
        let temporary = Folder::open(None).unwrap();
        let path = temporary.sub("nats").unwrap();
        temporary.close().unwrap();
        assert!(!path.exists());

        let given = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(given.path())).unwrap();
        let path = folder.sub("nats").unwrap();
        folder.close().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn two_stacks_cannot_have_one_folder() {
        let given = tempfile::tempdir().unwrap();
        let _first = Folder::open(Some(given.path())).unwrap();
        let error = Folder::open(Some(given.path())).unwrap_err().to_string();
        assert!(error.contains("in use by another stack"), "{error}");
    }

    #[test]
    fn only_old_folders_of_dead_stacks_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let make = |name: &str, age_s| {
            let folder = temp.path().join(name);
            fs::create_dir(&folder).unwrap();
            let lock = File::create(folder.join(LOCK)).unwrap();
            lock.set_modified(std::time::SystemTime::now() - Duration::from_secs(age_s)).unwrap();
            (folder, lock)
        };
        let ((dead, _), (young, _), (alive, lock), (strange, _)) =
            (make("hasty-dead", 90), make("hasty-young", 1), make("hasty-alive", 90), make("other", 90));
        lock.lock().unwrap();
        remove_left_behind(temp.path());
        let there = [dead, young, alive, strange].map(|folder| folder.exists());
        assert_eq!(there, [false, true, true, true]);
    }
}
