//! What clock changes mean, as tables.

use super::*;

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn cron(expression: &str, zone: &str) -> Timing {
    Timing::Cron { expression: expression.parse().unwrap(), zone: zone.parse().unwrap() }
}

/// All times after `after`, up to and including `until`, without the seconds.
fn times(timing: &Timing, after: &str, until: &str) -> Vec<String> {
    let until = time(until);
    let mut last = time(after);
    let mut times = Vec::new();
    while let Some(next) = timing.next(last).filter(|next| *next <= until) {
        assert!(next > last);
        times.push(next.to_string().trim_end_matches(":00.000Z").to_owned());
        last = next;
    }
    times
}

fn check(expression: &str, zone: &str, span: (&str, &str), expected: &[&str]) {
    let (after, until) = (format!("{}:00Z", span.0), format!("{}:00Z", span.1));
    assert_eq!(times(&cron(expression, zone), &after, &until), expected, "{expression} {zone}");
}

#[test]
fn a_fixed_time_that_is_skipped_comes_at_the_first_moment_after_the_gap() {
    // 02:00 became 03:00.
    let berlin = ("2026-03-28T12:00", "2026-03-30T12:00");
    check("30 2 * * *", "Europe/Berlin", berlin, &["2026-03-29T01:00", "2026-03-30T00:30"]);
    // Several that are skipped, and one that is there at that moment, come once.
    check(
        "0,30 2,3 * * *",
        "Europe/Berlin",
        ("2026-03-28T12:00", "2026-03-29T12:00"),
        &["2026-03-29T01:00", "2026-03-29T01:30"],
    );
    check(
        "30 2,14 * * *",
        "Europe/Berlin",
        berlin,
        &["2026-03-28T13:30", "2026-03-29T01:00", "2026-03-29T12:30", "2026-03-30T00:30"],
    );
    check(
        "30 2 * * *",
        "America/New_York",
        ("2026-03-07T12:00", "2026-03-09T12:00"),
        &["2026-03-08T07:00", "2026-03-09T06:30"],
    );
    // Midnight itself is skipped.
    check(
        "@daily",
        "America/Santiago",
        ("2026-09-05T05:00", "2026-09-08T00:00"),
        &["2026-09-06T04:00", "2026-09-07T03:00"],
    );
    check(
        "30 1 * * *",
        "Europe/London",
        ("2026-03-28T12:00", "2026-03-30T12:00"),
        &["2026-03-29T01:00", "2026-03-30T00:30"],
    );
    check(
        "30 2 * * *",
        "Australia/Sydney",
        ("2026-10-03T00:00", "2026-10-05T00:00"),
        &["2026-10-03T16:00", "2026-10-04T15:30"],
    );
    // Half an hour: 02:00 became 02:30.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        ("2026-10-03T00:00", "2026-10-05T00:00"),
        &["2026-10-03T15:30", "2026-10-04T15:15"],
    );
    check(
        "45 2 * * *",
        "Australia/Lord_Howe",
        ("2026-10-03T00:00", "2026-10-04T00:00"),
        &["2026-10-03T15:45"],
    );
}

#[test]
fn a_fixed_time_that_is_repeated_comes_once() {
    check(
        "30 2 * * *",
        "Europe/Berlin",
        ("2026-10-24T12:00", "2026-10-26T12:00"),
        &["2026-10-25T00:30", "2026-10-26T01:30"],
    );
    check(
        "30 2,14 * * *",
        "Europe/Berlin",
        ("2026-10-24T12:00", "2026-10-25T18:00"),
        &["2026-10-24T12:30", "2026-10-25T00:30", "2026-10-25T13:30"],
    );
    check(
        "30 1 * * *",
        "America/New_York",
        ("2026-10-31T12:00", "2026-11-02T12:00"),
        &["2026-11-01T05:30", "2026-11-02T06:30"],
    );
    check(
        "30 23 * * *",
        "America/Santiago",
        ("2026-04-04T12:00", "2026-04-06T12:00"),
        &["2026-04-05T02:30", "2026-04-06T03:30"],
    );
    check(
        "30 1 * * *",
        "Europe/London",
        ("2026-10-24T12:00", "2026-10-26T12:00"),
        &["2026-10-25T00:30", "2026-10-26T01:30"],
    );
    check(
        "30 2 * * *",
        "Australia/Sydney",
        ("2026-04-04T00:00", "2026-04-06T00:00"),
        &["2026-04-04T15:30", "2026-04-05T16:30"],
    );
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        ("2026-04-04T00:00", "2026-04-06T00:00"),
        &["2026-04-04T14:45", "2026-04-05T15:15"],
    );
}

#[test]
fn asked_in_the_repeated_hour_a_fixed_time_does_not_come_again() {
    check("30 2 * * *", "Europe/Berlin", ("2026-10-25T00:30", "2026-10-25T20:00"), &[]);
    check("30 2 * * *", "Europe/Berlin", ("2026-10-25T01:10", "2026-10-25T20:00"), &[]);
}

#[test]
fn what_is_not_fixed_follows_real_time() {
    check(
        "30 * * * *",
        "Europe/Berlin",
        ("2026-03-28T23:45", "2026-03-29T02:00"),
        &["2026-03-29T00:30", "2026-03-29T01:30"],
    );
    check(
        "30 * * * *",
        "Europe/Berlin",
        ("2026-10-24T23:45", "2026-10-25T03:00"),
        &["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"],
    );
    // In the hour that is skipped there is none, in that which is repeated each comes again.
    check("*/20 2 * * *", "Europe/Berlin", ("2026-03-28T12:00", "2026-03-29T12:00"), &[]);
    check(
        "*/30 2 * * *",
        "Europe/Berlin",
        ("2026-10-24T12:00", "2026-10-25T12:00"),
        &["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"],
    );
    check(
        "*/15 1-2 * * *",
        "Australia/Lord_Howe",
        ("2026-04-04T14:25", "2026-04-04T16:00"),
        &[
            "2026-04-04T14:30",
            "2026-04-04T14:45",
            "2026-04-04T15:00",
            "2026-04-04T15:15",
            "2026-04-04T15:30",
            "2026-04-04T15:45",
            "2026-04-04T16:00",
        ],
    );
}

#[test]
fn a_day_that_a_zone_skipped_as_a_whole() {
    // Samoa had no 30 December 2011: after 29 December came 31 December, at 10:00 UTC.
    let span = ("2011-12-28T12:00", "2012-01-01T12:00");
    check(
        "0 12 * * *",
        "Pacific/Apia",
        span,
        &["2011-12-28T22:00", "2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00", "2011-12-31T22:00"],
    );
    // What fell on that day alone comes at its end.
    check("0 12 30 12 *", "Pacific/Apia", span, &["2011-12-30T10:00"]);
    check("0 0,6,12 30 * *", "Pacific/Apia", span, &["2011-12-30T10:00"]);
    check("0 */12 30 12 *", "Pacific/Apia", span, &[]);
    check(
        "0 */12 * * *",
        "Pacific/Apia",
        ("2011-12-29T12:00", "2011-12-30T23:00"),
        &["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"],
    );
    check("@monthly", "Pacific/Apia", span, &["2011-12-31T10:00"]);
}

#[test]
fn rare_days_are_found_and_days_that_never_come_are_not() {
    let next = |expression: &str, after: &str| {
        cron(expression, "UTC").next(time(after)).map(|next| next.to_string())
    };
    assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z").as_deref(), Some("2104-02-29T00:00:00.000Z"));
    // Monday, 29 February.
    assert_eq!(next("0 0 29 2 +MON", "2025-01-01T00:00:00Z").as_deref(), Some("2044-02-29T00:00:00.000Z"));
    assert_eq!(next("0 */7 29 2 +MON", "2044-03-01T00:00:00Z").as_deref(), Some("2072-02-29T00:00:00.000Z"));
    for never in ["0 0 30 2 *", "*/5 0 30 2 *", "0 0 31 4,6 *"] {
        assert_eq!(next(never, "2026-01-01T00:00:00Z"), None, "{never}");
    }
}

#[test]
fn seconds_are_walked_too() {
    let timing = cron("*/20 59 23 * * *", "UTC");
    let after = time("2026-12-31T23:59:15.250Z");
    assert_eq!(timing.next(after), Some(time("2026-12-31T23:59:20Z")));
    assert_eq!(timing.next(time("2026-12-31T23:59:40Z")), Some(time("2027-01-01T23:59:00Z")));
    // Before the epoch, and within a second.
    assert_eq!(
        cron("* * * * * *", "UTC").next(time("1969-12-31T23:59:58.5Z")),
        Some(time("1969-12-31T23:59:59Z"))
    );
}

#[test]
fn every_so_many_seconds_is_counted_from_its_start() {
    let timing = Timing::Every { seconds: 90, from: time("2026-01-01T00:00:00.250Z") };
    assert_eq!(timing.next(time("2025-01-01T00:00:00Z")), Some(time("2026-01-01T00:00:00.250Z")));
    assert_eq!(timing.next(time("2026-01-01T00:00:00.250Z")), Some(time("2026-01-01T00:01:30.250Z")));
    assert_eq!(timing.next(time("2026-01-01T00:01:30Z")), Some(time("2026-01-01T00:01:30.250Z")));
}

#[test]
fn at_comes_once() {
    let timing = Timing::At(time("2026-01-01T00:00:00Z"));
    assert_eq!(timing.next(time("2025-12-31T23:59:59.999Z")), Some(time("2026-01-01T00:00:00Z")));
    assert_eq!(timing.next(time("2026-01-01T00:00:00Z")), None);
}
