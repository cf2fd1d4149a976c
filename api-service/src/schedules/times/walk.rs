//! The next time of an expression on a zone's clocks.

use jiff::{
    Timestamp as Instant, ToSpan as _,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};
use shared_events::Timestamp;

use super::{
    HORIZON_MS,
    expression::{Expression, first_place},
    zone::Zone,
};

/// How far, in days, what a clock shows may come before the moment: by a zone that skipped a day, and by its offset.
const BEHIND_DAYS: i64 = 2;

/// The first time after `after`; none where there is none within sixty years.
pub(super) fn next(expression: &Expression, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
    if expression.times_a_day() == 0 {
        return None;
    }
    let after = Instant::from_millisecond(after.millis()).ok()?;
    let horizon = Instant::from_millisecond(after.as_millisecond().checked_add(HORIZON_MS)?).ok()?;
    let found = if expression.is_fixed() {
        next_fixed(expression, zone.rules(), after, horizon)
    } else {
        next_real(expression, zone.rules(), after, horizon)
    };
    found.map(|found| Timestamp::from_millis(found.as_millisecond()))
}

/// Of fixed times each comes once. What the clock shows is walked, day by day: the moment that belongs to a later one is
/// never earlier, so of each day the first one after `after` is found by halving.
fn next_fixed(expression: &Expression, zone: &TimeZone, after: Instant, horizon: Instant) -> Option<Instant> {
    let last = zone.to_datetime(horizon).date();
    let mut date = zone.to_datetime(after).date().checked_sub(BEHIND_DAYS.days()).ok()?;
    while date <= last {
        if !expression.has_day(date) {
            date = next_day_of(expression, date)?;
            continue;
        }
        let moment = |place| moment_of(zone, date.to_datetime(expression.time_at(place)));
        let is_later = |place| moment(place).is_some_and(|moment| moment > after);
        let place = first_place(expression.times_a_day(), is_later);
        if place < expression.times_a_day() {
            return moment(place);
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// The moment at which a fixed time comes: the first at which the clock shows it or, where it is skipped, the first after
/// the gap.
fn moment_of(zone: &TimeZone, shown: DateTime) -> Option<Instant> {
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(shown).ok()
        }
        AmbiguousOffset::Gap { after, .. } => {
            // By the offset after the gap, what is shown in it would have been before the change, and not earlier than
            // the length of the gap.
            let earlier = after.to_timestamp(shown).ok()?;
            zone.following(earlier).next().map(|change| change.timestamp())
        }
    }
}

/// Others follow real time: from one change of the zone's offset to the next the clock runs evenly, and what it shows
/// meanwhile is looked at.
fn next_real(expression: &Expression, zone: &TimeZone, after: Instant, horizon: Instant) -> Option<Instant> {
    // Times are whole seconds.
    let mut from = Instant::from_second(after.as_millisecond().div_euclid(1000) + 1).ok()?;
    let mut changes = zone.following(after).map(|change| change.timestamp());
    while from <= horizon {
        let offset = zone.to_offset(from);
        let change = changes.find(|change| *change > from);
        let until = change.unwrap_or(horizon).min(horizon);
        let (start, end) = (offset.to_datetime(from), offset.to_datetime(until));
        if let Some(shown) = first_shown(expression, start, end) {
            return offset.to_timestamp(shown).ok();
        }
        from = change?;
    }
    None
}

/// The first that an evenly running clock shows, from `start` to before `end`.
fn first_shown(expression: &Expression, start: DateTime, end: DateTime) -> Option<DateTime> {
    let mut date = start.date();
    while date <= end.date() {
        if !expression.has_day(date) {
            date = next_day_of(expression, date)?;
            continue;
        }
        let from = if date == start.date() { start.time() } else { jiff::civil::Time::MIN };
        let place = expression.place_from(from);
        if place < expression.times_a_day() {
            return Some(date.to_datetime(expression.time_at(place))).filter(|shown| *shown < end);
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// The next day that is worth a look: months that have no times are passed over as a whole.
fn next_day_of(expression: &Expression, date: Date) -> Option<Date> {
    if expression.has_month(date) { date.tomorrow().ok() } else { date.last_of_month().tomorrow().ok() }
}
