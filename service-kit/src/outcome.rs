//! How a service's process ends: what it says on standard error, and its exit code.

use std::process::ExitCode;

use crate::settings::BadSettings;

/// Exit code of a process whose settings are wrong (`EX_CONFIG` of sysexits.h).
const BAD_SETTINGS: u8 = 78;

/// The settings, or the exit code of `service` where something is wrong with them.
///
/// # Errors
/// The exit code, after every mistake was told on standard error.
pub fn settings_or_exit<S>(service: &str, read: Result<S, BadSettings>) -> Result<S, ExitCode> {
    read.map_err(|wrong| {
        eprintln!("{service}: wrong settings:\n{wrong}");
        ExitCode::from(BAD_SETTINGS)
    })
}

/// The exit code of `service`; an error is told on standard error.
pub fn exit_code(service: &str, done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{service}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
