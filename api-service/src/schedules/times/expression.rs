//! Cron expressions.

use std::{fmt, str::FromStr, sync::Arc};

use croner::{
    Cron,
    parser::{CronParser, Year},
};
use jiff::civil::Date;
use utoipa::ToSchema;

use crate::http::read::StringValue;

/// The longest expression, in bytes.
const MAX_TEXT: usize = 256;

/// A cron expression of five fields (minute, hour, day of the month, month, day of the week), or of six, the first of
/// which are seconds.
///
/// Fields have numbers, names (`MON`, `JAN`), lists, ranges and steps; days also `L` (the last), `15W` (the weekday that is
/// nearest), `FRI#2` (the second Friday) and `FRI#L`. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` stand for
/// whole expressions. Where both kinds of days are restricted, one that is either is meant; with `+` before the day of the
/// week, one that is both.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 256, example = "30 2 * * MON-FRI")]
pub struct Expression(Arc<Parsed>);

#[derive(Debug, Clone, PartialEq)]
struct Parsed {
    text: String,
    cron: Cron,
    hours: Vec<i8>,
    minutes: Vec<i8>,
    seconds: Vec<i8>,
    is_fixed: bool,
}

/// The text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a cron expression of five fields, or of six with seconds first: {0}")]
pub struct BadExpression(String);

impl StringValue for Expression {}

impl FromStr for Expression {
    type Err = BadExpression;

    fn from_str(text: &str) -> Result<Self, BadExpression> {
        if text.len() > MAX_TEXT || !text.is_ascii() {
            return Err(BadExpression(format!("it has more than {MAX_TEXT} characters, or not only ASCII")));
        }
        let bad = |error: croner::errors::CronError| BadExpression(error.to_string());
        let cron = CronParser::builder().year(Year::Disallowed).build().parse(text).map_err(bad)?;
        let values = |field: &croner::CronComponent| {
            field.values().into_iter().filter_map(|value| i8::try_from(value).ok()).collect()
        };
        let pattern = &cron.pattern;
        let (hours, minutes, seconds) =
            (values(&pattern.hours), values(&pattern.minutes), values(&pattern.seconds));
        let is_fixed = is_fixed(pattern.as_str());
        let text = text.to_owned();
        Ok(Self(Arc::new(Parsed { text, hours, minutes, seconds, is_fixed, cron })))
    }
}

/// Whether an expression, `@` names resolved, has neither wildcard nor step in hour and minute.
fn is_fixed(pattern: &str) -> bool {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let first = fields.len().saturating_sub(5);
    fields.iter().skip(first).take(2).all(|field| !field.contains(['*', '/']))
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl serde::Serialize for Expression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text)
    }
}

impl Expression {
    /// Whether it names fixed times of day: neither wildcard nor step in hour and minute.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.0.is_fixed
    }

    /// What it means, in English.
    #[must_use]
    pub fn words(&self) -> String {
        self.0.cron.describe()
    }

    /// Whether it has times on this day.
    pub(super) fn has_day(&self, date: Date) -> bool {
        let (year, month, day) = (i32::from(date.year()), date.month() as u32, date.day() as u32);
        let weekday = croner::Weekday::from_days_from_sunday(
            date.weekday().to_sunday_zero_offset().unsigned_abs().into(),
        );
        self.has_month(date) && self.0.cron.pattern.day_match(year, month, day, weekday).unwrap_or(false)
    }

    /// Whether it has times in this day's month.
    pub(super) fn has_month(&self, date: Date) -> bool {
        self.0.cron.pattern.month_match(date.month() as u32).unwrap_or(false)
    }

    /// How many times a day has; none where one of the fields is empty.
    pub(super) fn times_a_day(&self) -> usize {
        self.0.hours.len() * self.0.minutes.len() * self.0.seconds.len()
    }

    /// The time of day at this place, from 0 to less than [`Self::times_a_day`], in their order.
    pub(super) fn time_at(&self, place: usize) -> jiff::civil::Time {
        let (seconds, minutes) = (self.0.seconds.len(), self.0.minutes.len());
        let second = self.0.seconds[place % seconds];
        let minute = self.0.minutes[place / seconds % minutes];
        let hour = self.0.hours[place / seconds / minutes];
        jiff::civil::time(hour, minute, second, 0)
    }

    /// The first place whose time of day is not before `time`; all of them where there is none.
    pub(super) fn place_from(&self, time: jiff::civil::Time) -> usize {
        first_place(self.times_a_day(), |place| self.time_at(place) >= time)
    }
}

/// The first of so many places from which on something holds; all of them where there is none.
pub(super) fn first_place(places: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, places);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Expression {
        text.parse().unwrap()
    }

    #[test]
    fn fixed_times_have_neither_wildcard_nor_step_in_hour_and_minute() {
        for (text, fixed) in [
            ("30 2 * * *", true),
            ("30 2,14 * * *", true),
            ("0-5 2-4 * * *", true),
            ("*/10 30 2 * * *", true),
            ("@daily", true),
            ("@weekly", true),
            ("@hourly", false),
            ("*/5 2 * * *", false),
            ("0 * * * *", false),
            ("0 1-9/2 * * *", false),
            ("0 30 * * * *", false),
        ] {
            assert_eq!(parse(text).is_fixed(), fixed, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "",
            "*",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "0 0 32 * *",
            "0 0 0 1 1 * 2030",
            "@reboot",
            "@sometimes",
            "0 0 * * FRI#6",
            "a b c d e",
            "0 0 ü * *",
            &"1,".repeat(200),
        ] {
            assert!(text.parse::<Expression>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_expression_is_told_in_words() {
        assert_eq!(parse("30 2 * * MON").words(), "At 02:30, on Monday.");
        assert_eq!(parse("@daily").to_string(), "@daily");
    }

    #[test]
    fn days_have_the_extensions() {
        let day = |text: &str, date: &str| parse(text).has_day(date.parse().unwrap());
        assert!(day("0 0 L * *", "2024-02-29") && !day("0 0 L * *", "2024-02-28"));
        assert!(day("0 0 * * FRI#2", "2026-11-13") && !day("0 0 * * FRI#2", "2026-11-06"));
        assert!(day("0 0 * * FRI#L", "2026-11-27") && !day("0 0 * * FRI#L", "2026-11-20"));
        assert!(day("0 0 15W * *", "2026-11-16") && !day("0 0 15W * *", "2026-11-15"));
        // Either, or with `+` both.
        assert!(day("0 0 13 * FRI", "2026-11-20") && !day("0 0 13 * +FRI", "2026-11-20"));
        assert!(day("0 0 13 * +FRI", "2026-11-13"));
        assert!(day("0 0 1 JAN *", "2027-01-01") && !day("0 0 1 JAN *", "2027-02-01"));
    }

    #[test]
    fn times_of_day_are_in_order() {
        let expression = parse("0,30 5 2,14 * * *");
        let all: Vec<String> =
            (0..expression.times_a_day()).map(|place| expression.time_at(place).to_string()).collect();
        assert_eq!(all, ["02:05:00", "02:05:30", "14:05:00", "14:05:30"]);
        assert_eq!(expression.place_from(jiff::civil::time(2, 5, 1, 0)), 1);
        assert_eq!(expression.place_from(jiff::civil::time(15, 0, 0, 0)), 4);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-*/,?#@+LWA-Zadily0-9 ]{0,40}") {
            if let Ok(expression) = text.parse::<Expression>() {
                let _ = (expression.words(), expression.has_day(jiff::civil::date(2026, 11, 27)));
            }
        }
    }
}
