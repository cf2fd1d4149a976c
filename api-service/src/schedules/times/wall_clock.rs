//! A clock on the wall that is looked at every minute: the real walk is held against it around every clock change.

use std::collections::HashSet;

use jiff::civil::DateTime;
use proptest::prelude::*;

use super::tests::{cron, time};
use super::*;

/// Two days, in minutes.
const AROUND_MIN: i64 = 2 * 24 * 60;

/// What a clock on the wall would do, looked at every minute: it remembers how far it has come, and fires for all that it
/// was moved over; what it shows again does not count. One that is not fixed fires for what it shows.
fn naive(expression: &Expression, shown: &[(i64, DateTime)]) -> Vec<i64> {
    let times: HashSet<_> = (0..expression.times_a_day()).map(|place| expression.time_at(place)).collect();
    let matches = |shown: DateTime| times.contains(&shown.time()) && expression.has_day(shown.date());
    let one = jiff::Span::new().minutes(1);
    let mut furthest = shown[0].1;
    let mut fired = Vec::new();
    for (minute, shown) in &shown[1..] {
        let mut fires = !expression.is_fixed() && matches(*shown);
        while expression.is_fixed() && furthest < *shown {
            furthest = furthest.checked_add(one).unwrap();
            fires |= matches(furthest);
        }
        if fires {
            fired.push(*minute);
        }
    }
    fired
}

/// What the zone's clocks show at every minute.
fn shown(zone: &Zone, from_min: i64, until_min: i64) -> Vec<(i64, DateTime)> {
    let shown = |minute: i64| zone.rules().to_datetime(jiff::Timestamp::from_second(minute * 60).unwrap());
    (from_min..=until_min).map(|minute| (minute, shown(minute))).collect()
}

fn walked(timing: &Timing, from_min: i64, until_min: i64) -> Vec<i64> {
    let mut last = Timestamp::from_millis(from_min * 60_000);
    let mut found = Vec::new();
    while let Some(next) = timing.next(last).filter(|next| next.millis() <= until_min * 60_000) {
        assert_eq!(next.millis() % 60_000, 0);
        found.push(next.millis() / 60_000);
        last = next;
    }
    found
}

/// The minutes at which the zone's offset changes, from the start of 2010 to that of 2030.
fn changes(zone: &Zone, from: &str, until: &str) -> Vec<i64> {
    let instant = |text: &str| jiff::Timestamp::from_millisecond(time(text).millis()).unwrap();
    let until = instant(until);
    let all = zone.rules().following(instant(from)).map(|change| change.timestamp());
    all.take_while(|change| *change < until).map(|change| change.as_second().div_euclid(60)).collect()
}

const ZONES: &[&str] = &[
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Europe/London",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "America/St_Johns",
    "Asia/Gaza",
];

#[test]
fn around_every_change_of_ten_years_the_walk_is_that_of_a_clock_on_the_wall() {
    let expressions =
        ["30 2,14 * * *", "0 0 * * *", "15,45 0-3 * * *", "*/7 * * * *", "*/20 1-3 * * *", "0 3 * * SUN#L"];
    let mut compared = 0;
    for name in ZONES {
        let zone: Zone = name.parse().unwrap();
        // Samoa's day was in 2011.
        for change in changes(&zone, "2010-06-01T00:00:00Z", "2020-06-01T00:00:00Z") {
            let (from, until) = (change - AROUND_MIN, change + AROUND_MIN);
            let shown = shown(&zone, from, until);
            for expression in expressions {
                let timing = cron(expression, name);
                let Timing::Cron { expression: parsed, .. } = &timing else { unreachable!() };
                assert_eq!(
                    walked(&timing, from, until),
                    naive(parsed, &shown),
                    "{expression} {name} {change}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_expression_is_walked_as_a_clock_on_the_wall_would(
        minute in "([0-9]|[1-5][0-9])(,([0-9]|[1-5][0-9]))?|\\*/(7|15|20)|\\*|10-40/10",
        hour in "[0-9]|1[0-9]|2[0-3]|0,[1-3],12|[0-2]-5|\\*/(2|5)|\\*",
        day in "\\*|\\*|L|(1|29|30|31)",
        zone in prop::sample::select(ZONES),
        change in 0_usize..1000,
        offset in -2000_i64..2000,
    ) {
        let text = format!("{minute} {hour} {day} * *");
        let timing = cron(&text, zone);
        let Timing::Cron { expression, zone } = &timing else { unreachable!() };
        let changes = changes(zone, "2010-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
        let middle = changes.get(change % changes.len().max(1)).copied().unwrap_or(27_000_000);
        let (from, until) = (middle - AROUND_MIN, middle + AROUND_MIN);
        let all = naive(expression, &shown(zone, from, until));
        prop_assert_eq!(&walked(&timing, from, until), &all, "{}", text);
        // The same from any moment, not only from one before the change.
        let after = middle + offset;
        let rest: Vec<i64> = all.into_iter().filter(|minute| *minute > after).collect();
        prop_assert_eq!(walked(&timing, after, until), rest, "{} after {}", text, after);
    }
}
