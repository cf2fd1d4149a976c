//! The services' programs, built by cargo itself.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::cargo;

/// A folder with the services' programs in it: they are taken from there, and nothing is built.
const PREBUILT: &str = "HASTY_BIN_DIR";

const API: &str = "api-service";
const WORKER: &str = "job-service";

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
                        let mut programs = build(&[API, WORKER], profile).await?;
                        Ok(Self { api: taken(&mut programs, API)?, worker: taken(&mut programs, WORKER)? })
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
        Ok(Self { api: program(API)?, worker: program(WORKER)? })
    }
}

/// Builds a program of this workspace, together with the services so that they share what is built, and says where
/// it is.
///
/// # Errors
/// Where cargo could not build it.
pub async fn build_program(name: &str, profile: Profile) -> Result<PathBuf> {
    taken(&mut build(&[API, WORKER, name], profile).await?, name)
}

/// All packages of the workspace decide together how their dependencies are built, whichever programs are asked for:
/// those that `cargo build` and `cargo test` have built are used again.
async fn build(programs: &[&str], profile: Profile) -> Result<HashMap<String, PathBuf>> {
    let mut command = Command::from(cargo::command("build"));
    command.args(["--workspace", "--message-format=json-render-diagnostics"]);
    command.args(programs.iter().flat_map(|program| ["--bin", program]));
    match profile {
        Profile::Release => command.arg("--release"),
        // Tests make the services die at their failpoints; those of a release have none.
        Profile::Dev => command.args(["--features", "api-service/failpoints,job-service/failpoints"]),
    };
    // There cargo finds the toolchain that the repository names.
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.stdin(Stdio::null()).kill_on_drop(true);
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
