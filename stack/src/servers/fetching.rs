//! Running a package client quietly, with a progress bar drawn from what it has put on the disk so far.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A folder under a finished download's name, for what has to be kept until it is unpacked.
pub(super) fn scratch_beside(target: &Path) -> Result<tempfile::TempDir> {
    let folder =
        target.parent().context("a target has a folder")?.parent().context("the folder has a parent")?;
    Ok(tempfile::tempdir_in(folder)?)
}

/// A bar for `what`; on something that is no terminal a line says that it is fetched.
pub(super) fn bar(bars: &MultiProgress, what: &str, bytes: u64) -> ProgressBar {
    if bars.is_hidden() {
        eprintln!("fetching {what} …");
    }
    let style = "fetching {msg:28} [{bar:30}] {bytes:>10} of {total_bytes}";
    let style = ProgressStyle::with_template(style).map(|style| style.progress_chars("=> "));
    let bar = bars.add(ProgressBar::new(bytes)).with_message(what.to_owned());
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Runs `command` to its end while `bar` follows the size of what is in `folder`; what it printed is part of the
/// failure, and hidden otherwise.
pub(super) fn run(mut command: Command, folder: &Path, bar: &ProgressBar) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let printed = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("could not run {program}"))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        bar.set_position(size(folder).min(bar.length().unwrap_or(u64::MAX)));
        std::thread::sleep(Duration::from_millis(50));
    };
    if status.success() {
        return Ok(());
    }
    let said = said(printed)?;
    bail!("{program} failed ({status}):\n{}", said.trim_end())
}

fn said(mut printed: fs::File) -> Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    printed.rewind()?;
    printed.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size_of).sum()
}

/// All files under `folder`.
pub(super) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Moves a program to its place and makes it executable.
pub(super) fn put(program: &Path, target: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
    fs::rename(program, target).with_context(|| format!("could not move {} into place", program.display()))
}
