//! Settings from environment variables: envy fills raw optional strings, one pass parses all of
//! them and reports every mistake at once, by the variable's name.

mod common;

pub use common::{CommonSettings, RawCommonSettings};

use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use serde::de::DeserializeOwned;

/// Everything that is wrong with the settings; shown one mistake a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSettings(Vec<String>);

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for BadSettings {}

/// Reads the environment, and before it a `.env` file where there is one (what is set in the
/// environment wins), into a struct of `Option<String>` fields named like the variables in lower case.
///
/// # Errors
/// Where `.env` can not be parsed.
pub fn from_env<Raw: DeserializeOwned>() -> Result<Raw, BadSettings> {
    match dotenvy::dotenv() {
        Ok(_) => {}
        Err(error) if error.not_found() => {}
        Err(error) => return Err(BadSettings(vec![format!(".env: {error}")])),
    }
    envy::from_env().map_err(|error| BadSettings(vec![error.to_string()]))
}

/// Parses raw settings and remembers what was wrong.
#[derive(Debug, Default)]
pub struct Check(Vec<String>);

impl Check {
    /// Starts with nothing wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value, or `default` where it is unset or empty.
    pub fn value<T: FromStr>(&mut self, name: &str, raw: Option<String>, default: T) -> T
    where
        T::Err: fmt::Display,
    {
        self.optional(name, raw).unwrap_or(default)
    }

    /// The value, or none where it is unset or empty.
    pub fn optional<T: FromStr>(&mut self, name: &str, raw: Option<String>) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let text = raw.filter(|text| !text.trim().is_empty())?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                // The text itself may be a secret, so it is not repeated.
                self.0.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// A number within `range`.
    pub fn number<T>(&mut self, name: &str, raw: Option<String>, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display,
        T::Err: fmt::Display,
    {
        let value = self.value(name, raw, default);
        if !range.contains(&value) {
            self.0.push(format!("{name}: must be from {} to {}, not {value}", range.start(), range.end()));
        }
        value
    }

    /// A length of time, written in whole or broken seconds.
    pub fn seconds(
        &mut self,
        name: &str,
        raw: Option<String>,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Duration {
        let known_good = default;
        let value = self.number(name, raw, default, range);
        Duration::try_from_secs_f64(value).unwrap_or(Duration::from_secs_f64(known_good))
    }

    /// A list, separated by commas; at least one.
    pub fn list<T: FromStr>(&mut self, name: &str, raw: Option<String>, default: T) -> Vec<T>
    where
        T::Err: fmt::Display,
    {
        let Some(text) = raw.filter(|text| !text.trim().is_empty()) else { return vec![default] };
        let mut values = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.0.push(format!("{name}: {part:?} {error}")),
            }
        }
        values
    }

    /// Says that something is wrong that no single value shows.
    pub fn wrong(&mut self, name: &str, why: &str) {
        self.0.push(format!("{name}: {why}"));
    }

    /// Ends the pass: `settings` if nothing was wrong.
    ///
    /// # Errors
    /// All mistakes.
    pub fn finish<T>(self, settings: T) -> Result<T, BadSettings> {
        if self.0.is_empty() { Ok(settings) } else { Err(BadSettings(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut check = Check::new();
        check.number("SLOTS", raw("0"), 100_u32, 1..=10_000);
        check.number("PORT", raw("high"), 8000_u16, 1..=65_535);
        check.seconds("LEASE_S", raw("-1"), 30.0, 1.0..=600.0);
        let told = check.finish(()).unwrap_err().to_string();
        let names: Vec<&str> =
            told.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
        assert_eq!(names, ["SLOTS", "PORT", "LEASE_S"]);
    }

    #[test]
    fn unset_and_empty_mean_the_default() {
        let mut check = Check::new();
        assert_eq!(check.number("SLOTS", None, 100_u32, 1..=10_000), 100);
        assert_eq!(check.number("SLOTS", raw("  "), 100_u32, 1..=10_000), 100);
        assert_eq!(check.seconds("LEASE_S", raw("0.5"), 30.0, 0.1..=600.0), Duration::from_millis(500));
        assert_eq!(check.list("QUEUES", raw("a, b"), "default".to_owned()), ["a", "b"]);
        assert!(check.finish(()).is_ok());
    }

    #[test]
    fn a_wrong_value_is_not_repeated() {
        let mut check = Check::new();
        check.optional::<u32>("SECRET", raw("hunter2"));
        assert!(!check.finish(()).unwrap_err().to_string().contains("hunter2"));
    }
}
