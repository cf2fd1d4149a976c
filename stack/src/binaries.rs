//! The services' programs, built by cargo itself.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// A folder with the services' programs in it: they are taken from there, and nothing is built.
const PREBUILT: &str = "HASTY_BIN_DIR";

/// How the services are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

impl Default for Profile {
    /// As this program itself was built.
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Dev } else { Self::Release }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    pub(crate) api: PathBuf,
    pub(crate) worker: PathBuf,
}

impl Binaries {
    /// Builds them, once per process and profile.
    pub(crate) async fn get(profile: Profile) -> Result<&'static Self> {
        static BUILT: [OnceCell<Binaries>; 2] = [const { OnceCell::const_new() }; 2];
        BUILT[profile as usize]
            .get_or_try_init(|| async {
                match std::env::var_os(PREBUILT).filter(|folder| !folder.is_empty()) {
                    Some(folder) => Self::in_folder(Path::new(&folder)),
                    None => {
                        let mut programs = build(profile).await?;
                        Ok(Self {
                            api: taken(&mut programs, "api-service")?,
                            worker: taken(&mut programs, "job-service")?,
                        })
                    }
                }
            })
            .await
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let program = |name: &str| {
            let path = std::path::absolute(folder.join(name))?;
            if path.is_file() {
                Ok(path)
            } else {
                bail!("{PREBUILT} is set, but there is no {}", path.display())
            }
        };
        Ok(Self { api: program("api-service")?, worker: program("job-service")? })
    }
}

/// Builds `stack` itself, together with the services so that they share what is built, and says where it is.
pub async fn build_itself(profile: Profile) -> Result<PathBuf> {
    taken(&mut build(profile).await?, "stack")
}

async fn build(profile: Profile) -> Result<HashMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"]);
    match profile {
        Profile::Release => command.arg("--release"),
        // Tests make the services die at their failpoints; those of a release have none.
        Profile::Dev => command.args(["--features", "api-service/failpoints,job-service/failpoints"]),
    };
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // Cargo tells us about this package in variables. A cargo that inherits them takes them for changes and
    // builds again what has not changed.
    let about_us = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
            || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"].contains(&name)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(about_us) {
            command.env_remove(name);
        }
    }
    let shown = std::io::stderr().is_terminal();
    command.stdout(Stdio::piped()).stderr(if shown { Stdio::inherit() } else { Stdio::piped() });
    let output =
        command.spawn().context("could not run cargo to build the services")?.wait_with_output().await?;
    if !output.status.success() {
        bail!("the services could not be built:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

fn taken(programs: &mut HashMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    programs.remove(name).with_context(|| format!("cargo built no {name}"))
}

/// Which program is where, from cargo's messages.
fn executables(messages: &str) -> HashMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: PathBuf,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.map(|message| (message.target.name, message.executable)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"api-service","kind":["bin"]},"executable":"/t/debug/api-service"}
{"reason":"build-finished","success":true}"#;
        let found = executables(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found["api-service"], Path::new("/t/debug/api-service"));
    }
}
