//! A worker with a wall clock of its own, by libfaketime; its monotonic clock stays the machine's.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use stack::{Builder, Stack, libfaketime};

/// In the stack's folder, which the services run in: how many seconds the clock is off.
const OFFSET: &str = "worker-clock";

/// Has this replica of the job-service read its wall clock through libfaketime.
pub(super) async fn with_own_clock(stack: Builder, worker: usize) -> Result<Builder> {
    let library = libfaketime().await?;
    let library = library.to_str().context("the path of libfaketime is no text")?;
    Ok(stack
        .worker_env(worker, "LD_PRELOAD", library)
        .worker_env(worker, "FAKETIME_TIMESTAMP_FILE", OFFSET)
        .worker_env(worker, "FAKETIME_NO_CACHE", 1)
        .worker_env(worker, "DONT_FAKE_MONOTONIC", 1)
        .worker_env(worker, "FAKETIME_DONT_FAKE_MONOTONIC", 1))
}

/// From now on the clock is so many seconds off.
pub(super) fn step(stack: &Stack, seconds: i64) -> Result<()> {
    // At once, so that nobody reads half of it.
    let (file, next): (PathBuf, PathBuf) =
        (stack.folder().join(OFFSET), stack.folder().join(format!("{OFFSET}-next")));
    fs::write(&next, format!("{seconds:+}\n"))?;
    Ok(fs::rename(next, file)?)
}
