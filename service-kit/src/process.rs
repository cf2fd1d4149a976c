//! A service's process: its settings at the start, being told to stop, and how it ends.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::settings::{Effective, ReadOut, ReadSettings, Reader};

/// Exit code of a process whose settings are wrong (`EX_CONFIG` of sysexits.h).
const BAD_SETTINGS: u8 = 78;

/// The settings of `service`, or its exit code where something is wrong with them. A variable that may have been meant for a
/// setting is told on standard error.
///
/// # Errors
/// The exit code, after every mistake was told on standard error.
pub fn settings_or_exit<S: ReadSettings>(service: &str) -> Result<ReadOut<S>, ExitCode> {
    let read = Reader::of_service(service).and_then(Reader::explain::<S>);
    let settings = read.map_err(|wrong| {
        eprintln!("{service}: wrong settings:\n{wrong}");
        ExitCode::from(BAD_SETTINGS)
    })?;
    for doubtful in &settings.doubtful {
        eprintln!("{service}: {doubtful}");
    }
    Ok(settings)
}

/// Prints which settings hold and where each comes from; secrets are masked.
///
/// # Errors
/// Where nobody reads it.
pub fn print_settings(settings: &[Effective]) -> anyhow::Result<()> {
    Ok(io::stdout().write_all(table(settings).as_bytes())?)
}

/// Name, value and origin in columns.
fn table(settings: &[Effective]) -> String {
    let width = |column: fn(&Effective) -> &str| {
        settings.iter().map(|setting| column(setting).chars().count()).max().unwrap_or(0)
    };
    let (names, values) = (width(|setting| setting.name), width(|setting| &setting.shown));
    let row =
        |Effective { name, shown, origin }: &Effective| format!("{name:names$}  {shown:values$}  {origin}\n");
    settings.iter().map(row).collect()
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

/// A token that is cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// Where the process may not listen to signals.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "told to stop");
        told.cancel();
    });
    Ok(stop)
}

/// Runs a program on a runtime of its own and ends with what it answers, whatever still blocks one of its threads.
/// Unlike with `#[tokio::main]`, nobody waits for those.
///
/// # Errors
/// Where the system has no threads for it.
pub fn run_to_exit(program: impl Future<Output = ExitCode>) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(program);
    runtime.shutdown_background();
    Ok(code)
}
