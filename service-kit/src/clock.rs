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
        let offset_ms = offset(asked_ms, local_ms(), its_time.timestamp_millis());
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
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

/// How far `its` clock is ahead of one that went from `asked` to `answered` meanwhile. What the wait
/// alone can explain is no offset: two processes of one machine must not come to differ.
const fn offset(asked: i64, answered: i64, its: i64) -> i64 {
    let half_wait = (answered - asked) / 2;
    let offset = its - (asked + half_wait);
    if offset.abs() <= half_wait + 1 { 0 } else { offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_wait_explains_is_no_offset() {
        assert_eq!(offset(1000, 1100, 1000), 0);
        assert_eq!(offset(1000, 1100, 1100), 0);
        assert_eq!(offset(1000, 1010, 1605), 600);
        assert_eq!(offset(1000, 1010, 405), -600);
    }
}
