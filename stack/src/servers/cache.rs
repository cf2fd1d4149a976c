//! The cache folder: servers that were fetched once, and the locks on leased ports.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder inside `$HASTY_CACHE`, else `$XDG_CACHE_HOME/hasty`, else `~/.cache/hasty`.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("HASTY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("hasty")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/hasty")))
        .context("no cache folder: set HASTY_CACHE (HOME and XDG_CACHE_HOME are not set either)")?;
    let folder = cache.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    std::path::absolute(&folder).context("could not find the current folder")
}

/// The path of `program` in the cache. Where it is not there yet, `install` puts it into a fresh folder that
/// then takes its place at once, so nobody ever sees half of it; of several processes one installs.
pub(super) fn installed(program: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let servers = folder("servers")?;
    let home = servers.join(program);
    let binary = home.join(program);
    if binary.is_file() {
        return Ok(binary);
    }
    let lock = File::create(servers.join(format!("{program}.lock")))
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("could not lock {}", servers.display()))?;
    if !binary.is_file() {
        let scratch = tempfile::Builder::new().prefix(".fetching-").tempdir_in(&servers)?;
        let fresh = scratch.path().join(program);
        fs::create_dir(&fresh)?;
        install(&fresh)?;
        fs::rename(&fresh, &home)
            .with_context(|| format!("could not put {program} into {}", home.display()))?;
    }
    drop(lock);
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_install_leaves_nothing_and_the_next_one_succeeds_once() {
        let name = format!("test-{}", uuid::Uuid::now_v7());
        let write = |folder: &Path| Ok(fs::write(folder.join(&name), "binary")?);
        installed(&name, |_| anyhow::bail!("no network")).unwrap_err();
        let binary = installed(&name, write).unwrap();
        assert_eq!(fs::read_to_string(&binary).unwrap(), "binary");
        assert_eq!(installed(&name, |_| panic!("it is there")).unwrap(), binary);
        fs::remove_dir_all(binary.parent().unwrap()).unwrap();
        fs::remove_file(folder("servers").unwrap().join(format!("{name}.lock"))).unwrap();
    }
}
