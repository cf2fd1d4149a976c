//! Why the database did not do what was asked.

use mongodb::error::ErrorKind;

/// Why the database did not do what was asked. None of these says anything about the request itself.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It said no, or could not be reached: nothing is known to be written.
    #[error("database did not do it")]
    Database(#[from] mongodb::error::Error),
    /// It refused a statement of an update.
    #[error("database refused the update with code {code}: {message}")]
    Refused {
        /// The server's error code.
        code: i32,
        /// The server's words.
        message: String,
    },
    /// No answer in time: written or not, nobody knows. Read again.
    #[error("database gave no answer in time")]
    Unknown,
    /// Too much is waiting already; nothing was written.
    #[error("too many writes are waiting")]
    Overloaded,
    /// A stored document is not what this version writes.
    #[error("stored document is not readable: {0}")]
    Unreadable(String),
}

impl StoreError {
    /// Whether a write that ended with this may have been done all the same.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Overloaded => false,
            Self::Database(error) => !matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. }),
            Self::Refused { .. } | Self::Unknown | Self::Unreadable(_) => true,
        }
    }
}
