//! One setting: how its text becomes a value, and what the documentation says of it.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use super::Reader;

/// A setting that is about to be read: what is said of it first, then the kind of its value.
#[derive(Debug)]
#[must_use]
pub struct Setting<'a> {
    reader: &'a mut Reader,
    name: &'static str,
    meaning: &'static str,
    default: Option<&'static str>,
    values: &'static str,
}

/// What the documentation says of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The environment variable.
    pub name: &'static str,
    /// Its value where none is set.
    pub default: String,
    /// Which values it may have.
    pub values: String,
    /// What it does.
    pub meaning: &'static str,
}

impl Description {
    /// The row of a table: variable, service, default, range, meaning.
    #[must_use]
    pub fn to_markdown(&self, service: &str) -> String {
        let Self { name, default, values, meaning } = self;
        format!("| `{name}` | {service} | {default} | {values} | {meaning} |")
    }
}

impl<'a> Setting<'a> {
    pub(super) const fn new(reader: &'a mut Reader, name: &'static str, meaning: &'static str) -> Self {
        Self { reader, name, meaning, default: None, values: "" }
    }

    /// Says what the default is where the value itself would say nothing, or is another one on another machine.
    pub const fn default_shown(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    /// Says which values there are, where that is no range.
    pub const fn values(mut self, text: &'static str) -> Self {
        self.values = text;
        self
    }

    /// The value, or `default` where it is unset or empty.
    pub fn or<T: FromStr<Err: Display> + Display>(self, default: T) -> T {
        let shown = format!("`{default}`");
        self.read(shown, None).unwrap_or(default)
    }

    /// The value, or none where it is unset or empty.
    pub fn optional<T: FromStr<Err: Display>>(self) -> Option<T> {
        self.read("none".to_owned(), None)
    }

    /// A number within `range`.
    pub fn number<T>(self, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        let values = format!("{} to {}", grouped(range.start()), grouped(range.end()));
        self.within(grouped(&default), values, default, &range)
    }

    /// A length of time, written in whole or broken seconds.
    pub fn seconds(self, default: f64, range: RangeInclusive<f64>) -> Duration {
        let values = format!("{} to {}", seconds(*range.start()), seconds(*range.end()));
        let value = self.within(seconds(default), values, default, &range);
        Duration::try_from_secs_f64(value).unwrap_or(Duration::from_secs_f64(default))
    }

    /// A list, separated by commas; at least one.
    pub fn list<T: FromStr<Err: Display> + Display>(mut self, default: T) -> Vec<T> {
        self.describe(format!("`{default}`"), None);
        let Some(text) = self.reader.text(self.name) else { return vec![default] };
        let mut values = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.wrong(&format!("{part:?} {error}")),
            }
        }
        values
    }

    fn within<T>(mut self, shown: String, values: String, default: T, range: &RangeInclusive<T>) -> T
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        self.describe(shown, Some(values));
        let value = self.parse().unwrap_or(default);
        if !range.contains(&value) {
            self.wrong(&format!("must be from {} to {}, not {value}", range.start(), range.end()));
        }
        value
    }

    fn read<T: FromStr<Err: Display>>(mut self, default: String, values: Option<String>) -> Option<T> {
        self.describe(default, values);
        self.parse()
    }

    fn parse<T: FromStr<Err: Display>>(&mut self) -> Option<T> {
        match self.reader.text(self.name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                // The text itself may be a secret, so it is not repeated.
                self.wrong(&error.to_string());
                None
            }
        }
    }

    fn wrong(&mut self, why: &str) {
        self.reader.mistakes.push(format!("{}: {why}", self.name));
    }

    fn describe(&mut self, default: String, values: Option<String>) {
        self.reader.descriptions.push(Description {
            name: self.name,
            default: self.default.map_or(default, str::to_owned),
            values: values.unwrap_or_else(|| self.values.to_owned()),
            meaning: self.meaning,
        });
    }
}

/// Seconds, and how many days that are where it is whole days.
fn seconds(seconds: f64) -> String {
    const DAY: f64 = 86_400.0;
    let text = grouped(&seconds);
    match seconds / DAY {
        days if days < 1.0 || days.fract() != 0.0 => text,
        1.0 => format!("{text} (1 day)"),
        days => format!("{text} ({} days)", grouped(&days)),
    }
}

/// A number with a comma between thousands.
fn grouped(number: &impl Display) -> String {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |parts| parts);
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}
