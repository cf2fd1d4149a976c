//! Files out of the distribution's own packages.
//!
//! Their exact versions cannot be pinned here: a point release replaces the file. apt compares it with the hash in
//! the distribution's signed list instead, and the caller asks for an upstream version of at least what it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar};

use super::fetching;

/// A file of a package.
pub(super) struct Deb {
    pub(super) name: &'static str,
    /// It is in the first of these that has it.
    pub(super) packages: &'static [&'static str],
    /// How its path inside the package ends.
    pub(super) member: &'static str,
    /// How the paths of other files end that are put beside it, under their own names.
    pub(super) beside: &'static [&'static str],
    /// About how large the package is, for the progress bar.
    pub(super) bytes: u64,
}

impl Deb {
    /// Puts the file at `target`, without root and without installing anything.
    pub(super) fn fetch(&self, target: &Path, bars: &MultiProgress) -> Result<()> {
        let bar = fetching::bar(bars, self.name, self.bytes);
        let scratch = fetching::scratch_beside(target)?;
        let apt = Apt { deb: self, scratch: scratch.path(), bar: &bar };
        // The machine's own package lists may be empty, or older than what the archive still has.
        let (file, beside) = apt.file(&[]).or_else(|first| {
            let lists = apt.own_lists().context(first)?;
            apt.file(&lists)
        })?;
        fetching::put(&file, target)?;
        for (file, member) in beside.iter().zip(self.beside) {
            let name = Path::new(member).file_name().context("a member has a name")?;
            fetching::put(file, &target.with_file_name(name))?;
        }
        bar.finish_and_clear();
        Ok(())
    }
}

struct Apt<'a> {
    deb: &'a Deb,
    scratch: &'a Path,
    bar: &'a ProgressBar,
}

impl Apt<'_> {
    /// The file, and those that go beside it.
    fn file(&self, options: &[String]) -> Result<(PathBuf, Vec<PathBuf>)> {
        let Deb { name, packages, member, beside, .. } = self.deb;
        for package in *packages {
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
            let files = fetching::files(&folder);
            let find = |member: &&str| files.iter().find(|file| file.ends_with(member)).cloned();
            if let Some(found) = find(member) {
                let beside =
                    beside.iter().map(|member| find(member).with_context(|| format!("there is no {member}")));
                return Ok((found, beside.collect::<Result<_>>()?));
            }
        }
        bail!("there is no {name} in the packages {packages:?}")
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
