//! Where a setting's value comes from. What is named first wins: the environment, a `.env` file, the configuration file, the
//! default.

use std::{fmt, path::PathBuf};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the environment.
    Environment,
    /// A line of `.env`.
    DotEnv,
    /// This key of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The key, with a dot before each part of it that stands within another.
        key: String,
    },
    /// The whole of a file that `<name>_FILE` names.
    SecretFile {
        /// The file.
        path: PathBuf,
    },
    /// The code.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::DotEnv => f.write_str(".env"),
            Self::File { path, key } => write!(f, "{}, {key}", path.display()),
            Self::SecretFile { path } => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
