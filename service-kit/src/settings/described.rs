//! One setting: how its text becomes a value, and what the documentation says of it.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;

use super::{Origin, Reader, secret::Secrecy, sources::Given};

/// A setting that is about to be read: what is said of it first, then the kind of its value.
#[derive(Debug)]
#[must_use]
pub struct Setting<'a> {
    reader: &'a mut Reader,
    name: &'static str,
    meaning: &'static str,
    default: Option<&'static str>,
    values: &'static str,
    secrecy: Option<Secrecy>,
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
    /// Whether it may be the whole of a file that `<name>_FILE` names.
    pub is_secret: bool,
}

/// The value that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The environment variable.
    pub name: &'static str,
    /// The value, with secrets masked.
    pub shown: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Description {
    /// The row of a table: variable, service, default, range, meaning.
    #[must_use]
    pub fn to_markdown(&self, service: &str) -> String {
        let Self { name, default, values, meaning, .. } = self;
        format!("| `{name}` | {service} | {default} | {values} | {meaning} |")
    }
}

impl<'a> Setting<'a> {
    pub(super) const fn new(reader: &'a mut Reader, name: &'static str, meaning: &'static str) -> Self {
        Self { reader, name, meaning, default: None, values: "", secrecy: None }
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

    /// A secret, or none where it is unset or empty.
    pub fn secret(mut self) -> Option<SecretString> {
        self.secrecy = Some(Secrecy::Whole);
        self.read::<String>("none".to_owned(), None).map(SecretString::from)
    }

    /// A secret that is more than a text, or none where it is unset or empty.
    pub fn secret_of<T: FromStr<Err: Display>>(mut self) -> Option<T> {
        self.secrecy = Some(Secrecy::Whole);
        self.read("none".to_owned(), None)
    }

    /// A URI that may have a secret in it.
    pub fn secret_uri(mut self, default: &str) -> SecretString {
        self.secrecy = Some(Secrecy::InUri);
        self.read::<String>(format!("`{default}`"), None).unwrap_or_else(|| default.to_owned()).into()
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
        let Some(given) = self.given() else { return vec![default] };
        let mut values = Vec::new();
        for part in given.text.split(',').map(str::trim) {
            match part.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.wrong(&given.origin, &format!("{part:?} {error}")),
            }
        }
        values
    }

    fn within<T>(mut self, shown: String, values: String, default: T, range: &RangeInclusive<T>) -> T
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        self.describe(shown, Some(values));
        let Some((value, origin)) = self.parse() else { return default };
        if !range.contains(&value) {
            self.wrong(&origin, &format!("must be from {} to {}, not {value}", range.start(), range.end()));
        }
        value
    }

    fn read<T: FromStr<Err: Display>>(mut self, default: String, values: Option<String>) -> Option<T> {
        self.describe(default, values);
        self.parse().map(|(value, _)| value)
    }

    fn parse<T: FromStr<Err: Display>>(&mut self) -> Option<(T, Origin)> {
        let Given { text, origin } = self.given()?;
        match text.parse() {
            Ok(value) => Some((value, origin)),
            Err(error) => {
                // The text itself may be a secret, so it is not repeated.
                self.wrong(&origin, &error.to_string());
                None
            }
        }
    }

    /// What is given for it; from then on that is what holds.
    fn given(&mut self) -> Option<Given> {
        let given = self.reader.sources.get(self.name).cloned();
        let given = if self.secrecy.is_some() { self.or_of_file(given) } else { given }?;
        let shown = self.secrecy.map_or_else(|| given.text.clone(), |secrecy| secrecy.mask(&given.text));
        if let Some(effective) = self.reader.effective.last_mut() {
            (effective.shown, effective.origin) = (shown, given.origin.clone());
        }
        Some(given)
    }

    /// The whole of the file that is named for it, without the end of its last line.
    fn or_of_file(&mut self, given: Option<Given>) -> Option<Given> {
        let Some(named) = self.reader.sources.get(&format!("{}_FILE", self.name)).cloned() else {
            return given;
        };
        if given.is_some() {
            self.wrong(&named.origin, &format!("only one of it and {}_FILE can be set", self.name));
            return None;
        }
        let path = PathBuf::from(named.text);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                Some(Given { text, origin: Origin::SecretFile { path } })
            }
            Err(error) => {
                self.wrong(&named.origin, &format!("{}_FILE names {}: {error}", self.name, path.display()));
                None
            }
        }
    }

    fn wrong(&mut self, origin: &Origin, why: &str) {
        self.reader.mistakes.push(match origin {
            Origin::File { .. } => format!("{} ({origin}): {why}", self.name),
            _ => format!("{}: {why}", self.name),
        });
    }

    fn describe(&mut self, default: String, values: Option<String>) {
        let default = self.default.map_or(default, str::to_owned);
        let shown = default.trim_matches('`').to_owned();
        self.reader.effective.push(Effective { name: self.name, shown, origin: Origin::Default });
        self.reader.descriptions.push(Description {
            name: self.name,
            default,
            values: values.unwrap_or_else(|| self.values.to_owned()),
            meaning: self.meaning,
            is_secret: self.secrecy.is_some(),
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
