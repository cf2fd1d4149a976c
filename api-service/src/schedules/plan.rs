//! What a schedule has to decide at a time. Pure.

use bson::DateTime;
use sha2::{Digest, Sha256};
use shared_events::Timestamp;

use super::{
    firing::{FiringReason, FiringStatus},
    model::Schedule,
    rule::Overlap,
};
use crate::jobs::date;

/// How many due times that were missed together are recorded one by one, the latest; the first of them says since when
/// all were.
pub(super) const MISSED_RECORDED: usize = 20;

/// How many due times are made up for in one round of a schedule.
const AT_ONCE: usize = 50;

/// A due time, and the moment at which it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The time itself.
    pub(super) at: Timestamp,
    /// The same, put off by its jitter.
    pub(super) fire_at: Timestamp,
}

/// What a schedule has to decide.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    /// Those that nobody makes up for, the latest of them.
    pub(super) missed: Vec<Timestamp>,
    /// Where there are more than those: since when.
    pub(super) missed_since: Option<Timestamp>,
    /// Those that are due.
    pub(super) due: Vec<Due>,
    /// Then all is decided up to here.
    pub(super) cursor: Option<Timestamp>,
}

/// What there is to decide at `now`.
pub(super) fn plan(schedule: &Schedule, now: Timestamp) -> Plan {
    if schedule.stored.paused {
        return Plan::default();
    }
    let mut plan = Plan::default();
    let catch_up_ms = i64::from(schedule.rule.catch_up_s.get()) * 1000;
    // What fires after this is made up for.
    let horizon = Timestamp::from_millis(now.millis() - catch_up_ms);
    let mut from = schedule.cursor();
    // Nothing that is due before fires as late as the horizon.
    let jitter_ms = i64::from(schedule.rule.jitter_s.get()) * 1000;
    let long_ago = Timestamp::from_millis(horizon.millis() - jitter_ms - 1);
    if long_ago > from {
        (plan.missed, plan.missed_since) = latest(schedule, from, long_ago);
        from = long_ago;
    }
    let most = if is_limited(schedule) { 1 } else { AT_ONCE };
    while let Some(due) = next_after(schedule, from) {
        if due.fire_at > now || plan.due.len() >= most {
            break;
        }
        from = due.at;
        if due.fire_at < horizon {
            plan.missed.push(due.at);
        } else {
            plan.due.push(due);
        }
    }
    if plan.missed.len() > MISSED_RECORDED {
        let first = plan.missed[0];
        plan.missed.drain(..plan.missed.len() - MISSED_RECORDED);
        plan.missed_since = plan.missed_since.or(Some(first));
    }
    plan.cursor = (from > schedule.cursor()).then_some(from);
    plan
}

/// The latest due times after `from` and up to `until`, and since when there are more. Looks at a bounded number of them.
fn latest(schedule: &Schedule, from: Timestamp, until: Timestamp) -> (Vec<Timestamp>, Option<Timestamp>) {
    let mut span_ms = 60_000;
    loop {
        let start = from.max(Timestamp::from_millis(until.millis().saturating_sub(span_ms)));
        let mut found: Vec<Timestamp> = Vec::new();
        let mut last = start;
        while let Some(due) = schedule.rule.next_due(schedule.since(), last).filter(|due| *due <= until) {
            found.push(due);
            last = due;
        }
        if start == from || found.len() > MISSED_RECORDED {
            let more = found.len().saturating_sub(MISSED_RECORDED);
            let all = found.split_off(more);
            let first = schedule.rule.next_due(schedule.since(), from);
            let since = first.filter(|first| all.first().is_some_and(|recorded| first < recorded));
            return (all, since);
        }
        span_ms *= 8;
    }
}

/// The next that the schedule decides; none where there is none, or it is paused.
pub(super) fn next(schedule: &Schedule) -> Option<Due> {
    if schedule.stored.paused { None } else { next_after(schedule, schedule.cursor()) }
}

/// The first due time after `after`.
pub(super) fn next_after(schedule: &Schedule, after: Timestamp) -> Option<Due> {
    let at = schedule.rule.next_due(schedule.since(), after)?;
    let jitter_ms = i64::from(schedule.rule.jitter_s.get()) * 1000;
    if jitter_ms == 0 {
        return Some(Due { at, fire_at: at });
    }
    // Not beyond the next one: they fire in their order.
    let room_ms =
        schedule.rule.next_due(schedule.since(), at).map_or(i64::MAX, |next| next.millis() - at.millis() - 1);
    let most = u64::try_from(jitter_ms.min(room_ms)).unwrap_or(0);
    let hash = Sha256::digest(super::firing::due_id(schedule.stored.uid, date(at)));
    let drawn = u64::from_le_bytes(hash[..8].try_into().unwrap_or_default()) % (most + 1);
    let fire_at = Timestamp::from_millis(at.millis() + i64::try_from(drawn).unwrap_or(0));
    Some(Due { at, fire_at })
}

/// Whether what is decided for one due time depends on what became of those before.
pub(super) fn is_limited(schedule: &Schedule) -> bool {
    schedule.rule.overlap != Overlap::Allow || schedule.rule.max_firings.is_some()
}

/// What has become of a schedule's earlier firings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Earlier {
    /// One has a job that has not ended, or gets one.
    pub(super) is_open: bool,
    /// One waits until another's job has ended.
    pub(super) waits: bool,
    /// How many fired, or are about to.
    pub(super) fired: u64,
}

/// What to decide for a due time.
pub(super) fn decide(schedule: &Schedule, earlier: Earlier) -> (FiringStatus, Option<FiringReason>) {
    let most = schedule.rule.max_firings.map_or(u64::MAX, |most| most.get().into());
    if earlier.fired >= most {
        return (FiringStatus::Skipped, Some(FiringReason::MaxFirings));
    }
    match schedule.rule.overlap {
        Overlap::Skip if earlier.is_open => (FiringStatus::Skipped, Some(FiringReason::Overlap)),
        Overlap::QueueOne if earlier.waits => (FiringStatus::Skipped, Some(FiringReason::Overlap)),
        Overlap::QueueOne if earlier.is_open => (FiringStatus::Waiting, Some(FiringReason::Overlap)),
        _ => (FiringStatus::Decided, None),
    }
}

/// Whether a record that is taken up late may still have been decided by what holds now: the one who decided it may have
/// been paused before it was stored, and the schedule changed or deleted meanwhile.
pub(super) fn is_in_force(schedule: Option<&Schedule>, due_at: DateTime) -> bool {
    schedule.is_some_and(|schedule| schedule.stored.deleted_at.is_none() && due_at > schedule.stored.since)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::model::tests::schedule, *};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn due(seconds: &[i64]) -> Vec<Due> {
        seconds.iter().map(|at| Due { at: second(*at), fire_at: second(*at) }).collect()
    }

    #[test]
    fn what_is_due_fires_and_what_is_older_was_missed() {
        let every_ten = schedule(r#"{"every_s":10,"catch_up_s":25}"#, 1000);
        assert_eq!(plan(&every_ten, second(1009)), Plan::default());
        let now = plan(&every_ten, second(1010));
        assert_eq!((now.due, now.missed, now.cursor), (due(&[1010]), vec![], Some(second(1010))));
        let later = plan(&every_ten, second(1061));
        assert_eq!(later.due, due(&[1040, 1050, 1060]));
        assert_eq!((later.missed, later.missed_since), ([1010, 1020, 1030].map(second).to_vec(), None));
        assert_eq!(later.cursor, Some(second(1060)));
    }

    #[test]
    fn of_much_that_was_missed_the_latest_is_recorded_and_since_when() {
        let every_second = schedule(r#"{"every_s":1,"catch_up_s":0}"#, 0);
        let plan = plan(&every_second, second(1_000_000));
        assert_eq!((plan.missed.len(), plan.missed_since), (MISSED_RECORDED, Some(second(1))));
        assert_eq!((plan.missed.last(), plan.due.clone()), (Some(&second(999_999)), due(&[1_000_000])));
        assert_eq!(plan.cursor, Some(second(1_000_000)));
    }

    #[test]
    fn one_that_is_paused_decides_nothing() {
        let paused = schedule(r#"{"every_s":10,"paused":true}"#, 1000);
        assert_eq!((plan(&paused, second(5000)), next(&paused)), (Plan::default(), None));
    }

    #[test]
    fn one_that_is_limited_decides_one_by_one() {
        for limit in [r#""overlap":"skip""#, r#""max_firings":5"#] {
            let limited = schedule(&format!(r#"{{"every_s":10,{limit}}}"#), 1000);
            let plan = plan(&limited, second(1041));
            assert_eq!((plan.due, plan.cursor), (due(&[1010]), Some(second(1010))));
        }
    }

    #[test]
    fn overlap_and_limits() {
        use FiringReason::{MaxFirings, Overlap};
        use FiringStatus::{Decided, Skipped, Waiting};
        let of = |limit: &str, is_open, waits, fired| {
            let schedule = schedule(&format!(r#"{{"every_s":10,{limit}}}"#), 1000);
            decide(&schedule, Earlier { is_open, waits, fired })
        };
        for (limit, open, waits, fired, decision) in [
            (r#""overlap":"allow""#, true, false, 9, (Decided, None)),
            (r#""overlap":"skip""#, false, false, 9, (Decided, None)),
            (r#""overlap":"skip""#, true, false, 9, (Skipped, Some(Overlap))),
            (r#""overlap":"queue_one""#, false, false, 9, (Decided, None)),
            (r#""overlap":"queue_one""#, true, false, 9, (Waiting, Some(Overlap))),
            (r#""overlap":"queue_one""#, true, true, 9, (Skipped, Some(Overlap))),
            (r#""overlap":"queue_one""#, false, true, 9, (Skipped, Some(Overlap))),
            (r#""overlap":"cancel_previous""#, true, false, 9, (Decided, None)),
            (r#""max_firings":3"#, true, false, 2, (Decided, None)),
            (r#""max_firings":3"#, false, false, 3, (Skipped, Some(MaxFirings))),
        ] {
            assert_eq!(of(limit, open, waits, fired), decision, "{limit} {open} {waits} {fired}");
        }
    }

    proptest! {
        /// However its rounds fall, each due time is decided once and in order, and fires within its jitter and before the
        /// next.
        #[test]
        fn every_due_time_is_decided_once(
            every in 1_i64..90,
            jitter in 0_u32..120,
            pauses in prop::collection::vec(1_i64..70, 1..40),
        ) {
            let rule = format!(r#"{{"every_s":{every},"jitter_s":{jitter},"catch_up_s":600}}"#);
            let mut schedule = schedule(&rule, 1000);
            let (mut now, mut decided) = (1000, Vec::new());
            for pause in pauses {
                now += pause;
                loop {
                    let plan = plan(&schedule, second(now));
                    prop_assert!(plan.missed.is_empty());
                    for due in &plan.due {
                        prop_assert!(due.fire_at >= due.at && due.fire_at <= second(now));
                        prop_assert!(due.fire_at.millis() - due.at.millis() <= i64::from(jitter) * 1000);
                        prop_assert!(due.fire_at.millis() < due.at.millis() + every * 1000);
                    }
                    decided.extend(plan.due.iter().map(|due| due.at.millis() / 1000));
                    let Some(cursor) = plan.cursor else { break };
                    schedule.stored.cursor = date(cursor);
                }
            }
            let expected: Vec<i64> = (1..).map(|step| 1000 + step * every).take(decided.len()).collect();
            prop_assert_eq!(&decided, &expected);
            let next = 1000 + (i64::try_from(decided.len()).unwrap() + 1) * every;
            prop_assert!(next + i64::from(jitter) >= now);
        }
    }
}
