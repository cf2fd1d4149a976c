//! Copies of a folder, as a backup makes them and puts them back.

use std::fs;
use std::io;
use std::path::Path;

/// Makes `to` the same as `from`, whatever it was before.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    copy_into(from, to)
}

fn copy_into(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_into(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("streams")).unwrap();
        fs::write(from.join("streams/1"), "one").unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("later"), "").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("streams/1")).unwrap(), "one");
        assert!(!to.join("later").exists());
    }
}
