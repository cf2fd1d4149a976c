//! How far a supervisor is with bringing everything to an end.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The program runs.
    Running,
    /// All were told to end, and have until then.
    Terminating(Instant),
    /// All are being killed.
    Killing,
}

impl Phase {
    /// How long until it looks again, at most.
    pub(super) const fn pause(self) -> Duration {
        Duration::from_millis(match self {
            Self::Running => 100,
            Self::Terminating(_) => 20,
            Self::Killing => 5,
        })
    }
}
