//! What has to be done with a job's document, and when somebody must look at it.

use serde::{Deserialize, Serialize};

/// What a document waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextAction {
    /// Its time is to come: then it is queued, and to be announced.
    Promote,
    /// The outbox mark: the run still has to be announced.
    Announce,
    /// The outbox mark of a run whose queue has used up its share of `JOBS`: to be announced when there is room.
    AwaitRoom,
    /// The outbox mark: the request to cancel still has to be passed on.
    Cancel,
    /// It was announced and has not ended: to be looked at, should it stay silent.
    Check,
}

impl NextAction {
    /// The action as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Announce => "announce",
            Self::AwaitRoom => "await_room",
            Self::Cancel => "cancel",
            Self::Check => "check",
        }
    }
}
