//! The signals that end a command.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when someone wants this process to stop: Ctrl-C, SIGTERM, or the terminal was closed. From the call on,
/// these signals do not end it any more.
///
/// # Errors
/// Where the process may not listen to signals.
pub fn stop_requested() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
