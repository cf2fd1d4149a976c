//! The database's clock, so that all replicas of a service date things alike.
//!
//! Dates only decide how promptly things happen; that nothing is done twice rests on fences.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bson::DateTime;

/// This process's idea of its database's clock. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Now, by the database's clock, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        local_ms() + self.offset_ms.load(Ordering::Relaxed)
    }

    /// Now, by the database's clock.
    #[must_use]
    pub fn now(&self) -> DateTime {
        DateTime::from_millis(self.now_ms())
    }

    /// The moment `duration` from now.
    #[must_use]
    pub fn after(&self, duration: Duration) -> DateTime {
        DateTime::from_millis(self.now_ms() + millis(duration))
    }

    /// Learns the offset: the database said `its_time` while this process waited from `asked_ms` until now.
    pub(crate) fn learn(&self, asked_ms: i64, its_time: DateTime) {
        let middle = asked_ms + (local_ms() - asked_ms) / 2;
        self.offset_ms.store(its_time.timestamp_millis() - middle, Ordering::Relaxed);
    }
}

/// Now, by this machine's clock, in milliseconds since the Unix epoch.
pub(crate) fn local_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Whole milliseconds, as dates count them.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
