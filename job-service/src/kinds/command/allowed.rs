//! Which programs may be run, and where they are.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where names are looked up, and what programs have as `PATH`, whatever the worker's own is.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs that may be run: names and absolute paths, as jobs have to call them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedPrograms(Vec<String>);

/// Why a text is no list of programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a name nor an absolute path")]
pub struct BadProgram(String);

impl FromStr for AllowedPrograms {
    type Err = BadProgram;

    fn from_str(text: &str) -> Result<Self, BadProgram> {
        let programs = text.split(',').map(str::trim).filter(|program| !program.is_empty());
        let checked = programs.map(|program| {
            if program.contains('/') && !program.starts_with('/') {
                return Err(BadProgram(program.to_owned()));
            }
            Ok(program.to_owned())
        });
        checked.collect::<Result<_, _>>().map(Self)
    }
}

impl AllowedPrograms {
    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is, by the very name or path that the list has.
    #[must_use]
    pub fn allows(&self, program: &str) -> bool {
        self.0.iter().any(|allowed| allowed == program)
    }
}

/// Where the program is; none where no file that can be run is there.
pub(super) fn locate(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|path| is_executable(path));
    }
    PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_allowed_by_the_very_name() {
        let allowed: AllowedPrograms = "echo, /bin/sh,".parse().unwrap();
        assert!(allowed.allows("echo") && allowed.allows("/bin/sh"));
        for program in ["sh", "/bin/echo", "/bin//sh", "/bin/../bin/sh", "ECHO", ""] {
            assert!(!allowed.allows(program), "{program}");
        }
        assert!(AllowedPrograms::default().is_empty() && !AllowedPrograms::default().allows("echo"));
        assert_eq!("bin/sh".parse::<AllowedPrograms>(), Err(BadProgram("bin/sh".to_owned())));
    }

    #[test]
    fn names_are_looked_up_and_folders_are_no_programs() {
        assert!(locate("sh").is_some_and(|path| path.is_absolute() && path.ends_with("sh")));
        assert_eq!(locate("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        for program in ["/", "/etc/passwd", "..", "no-such-program", "/no/such/program"] {
            assert_eq!(locate(program), None, "{program}");
        }
    }
}
