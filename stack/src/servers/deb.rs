//! nginx, out of the distribution's own package.
//!
//! Its exact version cannot be pinned here: a point release replaces the file. apt compares it with the hash in
//! the distribution's signed list instead, and the caller asks for an upstream version of at least 1.22.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar};

use super::fetching;

/// The program is in `nginx`, or (where that is an empty package) in `nginx-core`.
const PACKAGES: [&str; 2] = ["nginx", "nginx-core"];

/// Puts nginx at `target`, without root and without installing anything.
pub(super) fn fetch_nginx(target: &Path, bars: &MultiProgress) -> Result<()> {
    let bar = fetching::bar(bars, "nginx", 531_468);
    let scratch = fetching::scratch_beside(target)?;
    let apt = Apt { scratch: scratch.path(), bar: &bar };
    // The machine's own package lists may be empty, or older than what the archive still has.
    let program = apt.nginx(&[]).or_else(|first| {
        let lists = apt.own_lists().context(first)?;
        apt.nginx(&lists)
    })?;
    fetching::put(&program, target)?;
    bar.finish_and_clear();
    Ok(())
}

struct Apt<'a> {
    scratch: &'a Path,
    bar: &'a ProgressBar,
}

impl Apt<'_> {
    fn nginx(&self, options: &[String]) -> Result<PathBuf> {
        for package in PACKAGES {
            let folder = self.scratch.join(package);
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder)?;
            let mut download = Command::new("apt-get");
            download.args(options).args(["download", package]).current_dir(&folder);
            fetching::run(download, &folder, self.bar)?;
            for file in fetching::files(&folder) {
                let mut unpack = Command::new("dpkg");
                unpack.arg("-x").arg(&file).arg(&folder);
                fetching::run(unpack, &folder, self.bar)?;
            }
            if let Some(nginx) =
                fetching::files(&folder).into_iter().find(|file| file.ends_with("sbin/nginx"))
            {
                return Ok(nginx);
            }
        }
        bail!("there is no nginx in the packages {PACKAGES:?}")
    }

    /// Fetches package lists into the scratch folder, and gives the options that make apt use them.
    fn own_lists(&self) -> Result<Vec<String>> {
        let (lists, cache) = (self.scratch.join("lists"), self.scratch.join("cache"));
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        let option = |name: &str, path: &Path| [String::from("-o"), format!("{name}={}", path.display())];
        let options = [option("Dir::State::Lists", &lists), option("Dir::Cache", &cache)].concat();
        let mut update = Command::new("apt-get");
        update.args(&options).arg("update");
        fetching::run(update, &lists, self.bar)?;
        Ok(options)
    }
}
