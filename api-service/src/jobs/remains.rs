//! What is left of a job at a time: all of it, only what was promised about it, or nothing.

use std::time::Duration;

use bson::DateTime;
use service_kit::clock::millis;
use shared_events::{JobId, streams};

use super::Job;
use crate::idempotency::KEY_KEPT;

/// How long after a run's end events about it may still come: an announcement that is delivered again has its end told again.
const EVENTS_COME: Duration = streams::STALE_AFTER;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    /// The job as it is.
    Job,
    /// A stub: its keys and its id stay taken until then.
    Stub {
        /// When all promises are over.
        until: DateTime,
    },
    /// Nothing.
    Nothing,
}

/// When a job was created, and when it ended, if it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) created_at: DateTime,
    pub(super) ended_at: Option<DateTime>,
}

impl From<&Job> for Life {
    fn from(job: &Job) -> Self {
        Self { created_at: job.created_at, ended_at: job.ended_at.filter(|_| job.status.is_terminal()) }
    }
}

impl Life {
    /// What is left of the job at `now`, where jobs are kept for `kept` after their end.
    pub(super) fn remains(self, now: DateTime, kept: Duration) -> Remains {
        match self.ended_at {
            Some(ended_at) if after(ended_at, kept) <= now => match self.promised_until(ended_at) {
                until if until > now => Remains::Stub { until },
                _ => Remains::Nothing,
            },
            _ => Remains::Job,
        }
    }

    /// Until when its keys or its id may still be asked for, where it ended then.
    pub(super) fn promised_until(self, ended_at: DateTime) -> DateTime {
        after(self.created_at, KEY_KEPT).max(after(ended_at, EVENTS_COME))
    }
}

fn after(date: DateTime, duration: Duration) -> DateTime {
    DateTime::from_millis(date.timestamp_millis().saturating_add(millis(duration)))
}

/// Whether a job that is not here may once have been, as far as its id's time tells: a stub stays at least for as long
/// as events come after an end, and no job ends before it is created.
pub(crate) fn may_be_gone(id: JobId, now: DateTime) -> bool {
    let created_at = id.uuid().get_timestamp().map(|time| time.to_unix().0);
    let created_at = created_at.and_then(|seconds| i64::try_from(seconds).ok());
    created_at.is_some_and(|seconds| after(DateTime::from_millis(seconds * 1000), EVENTS_COME) <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// What is left of a job that was created at 0, by days.
    fn remains(ended: Option<i64>, now: i64, kept_days: u64) -> Remains {
        let day = |days: i64| DateTime::from_millis(days * DAY);
        let life = Life { created_at: day(0), ended_at: ended.map(day) };
        life.remains(day(now), Duration::from_secs(kept_days * 86_400))
    }

    const fn until(day: i64) -> Remains {
        Remains::Stub { until: DateTime::from_millis(day * DAY) }
    }

    #[test]
    fn a_job_stays_for_its_time_and_its_promises_stay_for_theirs() {
        for (ended, now, kept, left) in [
            (None, 1000, 30, Remains::Job),
            (Some(0), 29, 30, Remains::Job),
            (Some(0), 30, 30, Remains::Nothing),
            // Created long ago, retried, and ended again only now.
            (Some(95), 100, 30, Remains::Job),
            (Some(70), 100, 30, Remains::Nothing),
            // Events may come for longer than the job is kept.
            (Some(0), 1, 1, until(8)),
            (Some(0), 7, 1, until(8)),
            (Some(0), 8, 1, Remains::Nothing),
            (Some(5), 7, 1, until(13)),
            // Deleted by its client: not kept at all.
            (Some(0), 0, 0, until(8)),
            (Some(3), 3, 0, until(11)),
            (Some(3), 11, 0, Remains::Nothing),
        ] {
            assert_eq!(remains(ended, now, kept), left, "ended {ended:?}, now {now}, kept {kept}");
        }
    }

    #[test]
    fn a_key_is_promised_from_the_creation_on_also_where_clocks_differ() {
        let life = Life { created_at: DateTime::from_millis(20 * DAY), ended_at: None };
        assert_eq!(life.promised_until(DateTime::from_millis(0)), DateTime::from_millis(21 * DAY));
    }

    #[test]
    fn only_an_old_id_may_be_that_of_a_job_of_which_nothing_is_left() {
        let created_at = uuid::Timestamp::from_unix_time(1_800_000_000, 0, 0, 0);
        let id = JobId::from(uuid::Uuid::new_v7(created_at));
        let later = |millis| DateTime::from_millis(1_800_000_000_000 + millis);
        assert!(!may_be_gone(id, later(8 * DAY - 1)));
        assert!(may_be_gone(id, later(8 * DAY)));
        assert!(!may_be_gone(JobId::from(uuid::Uuid::new_v4()), later(1000 * DAY)));
    }
}
