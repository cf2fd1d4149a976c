//! Running cargo for other programs of this workspace.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::binaries::Profile;

/// Cargo with this command, on this workspace. It runs in the current folder, as the program does that it starts.
pub(crate) fn command(subcommand: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg(subcommand).arg("--manifest-path");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    // A cargo that inherits what cargo has set for this package takes it for changes, and builds again what has
    // not changed.
    let is_about_this_package = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
            || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"].contains(&name)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_this_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Becomes another program of this workspace, which cargo builds, like this one, where it has to: input, output,
/// signals and exit code are that program's.
///
/// # Errors
/// Where cargo could not be run.
pub fn run_program(name: &str, arguments: impl IntoIterator<Item = OsString>) -> Result<Infallible> {
    let mut command = command("run");
    if Profile::default() == Profile::Release {
        command.arg("--release");
    }
    command.args(["--package", name, "--bin", name, "--"]).args(arguments);
    Err(command.exec()).with_context(|| format!("could not run cargo to start {name}"))
}
