//! Settings from environment variables. Each is described where it is read, so what the documentation says of its
//! default and range is what holds; all mistakes are reported at once, by the variable's name.

mod common;
mod described;

pub use common::CommonSettings;
pub use described::{Description, Setting};

use std::{collections::BTreeMap, fmt};

/// Everything that is wrong with the settings; shown one mistake a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSettings(Vec<String>);

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for BadSettings {}

/// All settings of a program.
pub trait ReadSettings: Sized {
    /// Reads each of them.
    fn read(from: &mut Reader) -> Self;

    /// Reads the environment.
    ///
    /// # Errors
    /// Every variable that is wrong.
    fn from_env() -> Result<Self, BadSettings> {
        Reader::from_env()?.read_all()
    }

    /// What there is to set, as the documentation shows it.
    #[must_use]
    fn descriptions() -> Vec<Description> {
        let mut from = Reader::default();
        Self::read(&mut from);
        from.descriptions
    }
}

/// Reads settings, and remembers what was wrong and what there is. Empty, it has each setting's default.
#[derive(Debug, Default)]
pub struct Reader {
    /// By their names in lower case, as envy has them.
    variables: BTreeMap<String, String>,
    mistakes: Vec<String>,
    descriptions: Vec<Description>,
}

impl Reader {
    /// Reads the environment, and before it a `.env` file where there is one; what is set in the environment wins.
    ///
    /// # Errors
    /// Where `.env` can not be parsed, or a variable is no UTF-8.
    pub fn from_env() -> Result<Self, BadSettings> {
        match dotenvy::dotenv() {
            Ok(_) => {}
            Err(error) if error.not_found() => {}
            Err(error) => return Err(BadSettings(vec![format!(".env: {error}")])),
        }
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            // Variables of others need not be text.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_variables(std::env::vars_os().filter_map(text))
    }

    /// Reads these variables.
    ///
    /// # Errors
    /// Where envy can not take them.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BadSettings> {
        let variables = envy::from_iter(variables).map_err(|error| BadSettings(vec![error.to_string()]))?;
        Ok(Self { variables, ..Self::default() })
    }

    /// The setting of this name. `meaning` is what the documentation says of it, in Markdown.
    pub fn setting(&mut self, name: &'static str, meaning: &'static str) -> Setting<'_> {
        Setting::new(self, name, meaning)
    }

    /// Reads all settings of a program.
    ///
    /// # Errors
    /// Every one that is wrong.
    pub fn read_all<S: ReadSettings>(mut self) -> Result<S, BadSettings> {
        let settings = S::read(&mut self);
        self.finish(settings)
    }

    fn finish<T>(self, settings: T) -> Result<T, BadSettings> {
        if self.mistakes.is_empty() { Ok(settings) } else { Err(BadSettings(self.mistakes)) }
    }

    /// The text of a variable; none where it is unset or empty.
    fn text(&self, name: &str) -> Option<String> {
        let text = self.variables.get(&name.to_lowercase())?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reader(variables: &[(&str, &str)]) -> Reader {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Reader::from_variables(owned).unwrap()
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut reader = reader(&[("SLOTS", "0"), ("PORT", "high"), ("LEASE_S", "-1"), ("QUEUE", "1,x")]);
        reader.setting("SLOTS", "").number(100_u32, 1..=10_000);
        reader.setting("PORT", "").number(8000_u16, 1..=65_535);
        reader.setting("LEASE_S", "").seconds(30.0, 1.0..=600.0);
        reader.setting("QUEUE", "").list(7_u8);
        let told = reader.finish(()).unwrap_err().to_string();
        let names: Vec<&str> =
            told.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
        assert_eq!(names, ["SLOTS", "PORT", "LEASE_S", "QUEUE"]);
    }

    #[test]
    fn unset_and_empty_mean_the_default() {
        let mut reader = reader(&[("SLOTS", "  "), ("LEASE_S", " 0.5"), ("QUEUES", "a, b")]);
        assert_eq!(reader.setting("THREADS", "").number(100_u32, 1..=10_000), 100);
        assert_eq!(reader.setting("SLOTS", "").number(100_u32, 1..=10_000), 100);
        assert_eq!(reader.setting("LEASE_S", "").seconds(30.0, 0.1..=600.0), Duration::from_millis(500));
        assert_eq!(reader.setting("QUEUES", "").list("default".to_owned()), ["a", "b"]);
        assert_eq!(reader.setting("USER", "").optional::<String>(), None);
        assert!(reader.finish(()).is_ok());
    }

    #[test]
    fn a_wrong_value_is_not_repeated() {
        let mut reader = reader(&[("SECRET", "hunter2")]);
        reader.setting("SECRET", "").optional::<u32>();
        assert!(!reader.finish(()).unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn the_documentation_shows_what_holds() {
        let mut reader = Reader::default();
        reader.setting("MOST", "how many").number(1_000_000, 1..=10_000_000);
        reader.setting("KEPT_S", "how long").seconds(172_800.0, 0.05..=864_000.0);
        reader.setting("THREADS", "how many").default_shown("the cores").number(2, 1..=64);
        reader.setting("USER", "who").values("a name").optional::<String>();
        let rows: Vec<String> = reader.descriptions.iter().map(|row| row.to_markdown("api")).collect();
        assert_eq!(
            rows,
            [
                "| `MOST` | api | 1,000,000 | 1 to 10,000,000 | how many |",
                "| `KEPT_S` | api | 172,800 (2 days) | 0.05 to 864,000 (10 days) | how long |",
                "| `THREADS` | api | the cores | 1 to 64 | how many |",
                "| `USER` | api | none | a name | who |",
            ]
        );
    }
}
