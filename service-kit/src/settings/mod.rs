//! Settings from environment variables and a configuration file. Each is described where it is read, so what the documentation
//! says of its default and range is what holds; all mistakes are reported at once, by the setting's name.

mod common;
mod described;
mod file;
mod names;
mod origin;
mod secret;
mod sources;

pub use common::CommonSettings;
pub use described::{Description, Effective, Setting};
pub use origin::Origin;

use std::fmt;

use sources::Sources;

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
    sources: Sources,
    mistakes: Vec<String>,
    descriptions: Vec<Description>,
    effective: Vec<Effective>,
}

/// Settings that were read.
#[derive(Debug)]
pub struct ReadOut<S> {
    /// Them.
    pub values: S,
    /// What holds, and where each comes from, in the order of the documentation.
    pub effective: Vec<Effective>,
    /// Variables that may have been meant for a setting.
    pub doubtful: Vec<String>,
}

impl Reader {
    /// Reads the environment, a `.env` file and the configuration file of the service with this name, where there are any;
    /// what is named first wins.
    ///
    /// # Errors
    /// Where a file can not be read, or is missing that is asked for.
    pub fn of_service(service: &str) -> Result<Self, BadSettings> {
        Ok(Self { sources: Sources::of(service)?, ..Self::default() })
    }

    /// Reads these variables.
    ///
    /// # Errors
    /// Where envy can not take them.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BadSettings> {
        Ok(Self { sources: Sources::of_variables(variables)?, ..Self::default() })
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
        self.finish(settings).map(|settings| settings.values)
    }

    /// Reads all settings of a program, and says where they come from.
    ///
    /// # Errors
    /// Every one that is wrong.
    pub fn explain<S: ReadSettings>(mut self) -> Result<ReadOut<S>, BadSettings> {
        let settings = S::read(&mut self);
        self.finish(settings)
    }

    fn finish<T>(mut self, values: T) -> Result<ReadOut<T>, BadSettings> {
        self.mistakes.extend(self.sources.unknown_in_files(&self.descriptions));
        if !self.mistakes.is_empty() {
            return Err(BadSettings(self.mistakes));
        }
        let doubtful = self.sources.doubtful_variables(&self.descriptions);
        Ok(ReadOut { values, effective: self.effective, doubtful })
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

    fn layered(
        environment: &[(&str, &str)],
        dot_env: &[(&str, &str)],
        file: &str,
    ) -> (tempfile::TempDir, Result<Reader, BadSettings>) {
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("local.yaml"), file).unwrap();
        let mut environment = owned(environment);
        environment.push((file::PATH.to_owned(), folder.path().to_str().unwrap().to_owned()));
        let sources = Sources::layered("api-service", environment, owned(dot_env));
        (folder, sources.map(|sources| Reader { sources, ..Reader::default() }))
    }

    #[test]
    fn the_environment_wins_over_env_files_and_those_over_the_configuration_file() {
        let file = "slots: 1\nport: 1\nlease_s: 1\napi-service: { threads: 1 }\n";
        let (_folder, reader) =
            layered(&[("SLOTS", "3"), ("LEASE_S", " ")], &[("SLOTS", "2"), ("PORT", "2")], file);
        let mut reader = reader.unwrap();
        let mut number = |name| reader.setting(name, "").number(100_u32, 0..=200);
        assert_eq!(["SLOTS", "PORT", "LEASE_S", "THREADS", "OTHER"].map(&mut number), [3, 2, 1, 1, 100]);
        let origins: Vec<String> = reader.effective.iter().map(|one| one.origin.to_string()).collect();
        assert_eq!(
            (origins[0].as_str(), origins[1].as_str(), origins[4].as_str()),
            ("environment", ".env", "default")
        );
        assert!(origins[2].ends_with("local.yaml, lease_s"), "{origins:?}");
        assert!(origins[3].ends_with("local.yaml, api-service.threads"), "{origins:?}");
        assert!(reader.finish(()).is_ok());
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_key_and_what_may_have_been_meant() {
        let file = "slots: many\nlease_seconds: 3\nxyz: 1\njob-service: { anything: 1 }\n";
        let (_folder, reader) = layered(&[("PROT_NUMBER", "1"), ("PATH", "/bin")], &[], file);
        let mut reader = reader.unwrap();
        reader.setting("SLOTS", "").number(100_u32, 0..=200);
        reader.setting("LEASE_S", "").number(100_u32, 0..=200);
        reader.setting("PORT_NUMBER", "").number(100_u32, 0..=200);
        assert_eq!(
            reader.sources.doubtful_variables(&reader.descriptions),
            ["PROT_NUMBER (environment): there is no such setting; is PORT_NUMBER meant?"]
        );
        let told = reader.finish(()).unwrap_err().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        assert!(lines[0].starts_with("SLOTS (") && lines[0].contains("local.yaml, slots"), "{told}");
        assert!(lines[1].contains("lease_seconds: there is no such setting"), "{told}");
        assert!(lines[2].ends_with("xyz: there is no such setting"), "{told}");
    }

    #[test]
    fn secrets_come_from_files_and_are_masked() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("password"), "hunter2\n").unwrap();
        let mut reader = reader(&[
            ("PASSWORD_FILE", &path("password")),
            ("URI", "mongodb://me:hunter3@db/x"),
            ("TOKEN", "hunter4"),
            ("TOKEN_FILE", &path("password")),
            ("KEY_FILE", &path("none")),
        ]);
        let password = reader.setting("PASSWORD", "").secret().unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&password), "hunter2");
        reader.setting("URI", "").secret_uri("mongodb://db");
        reader.setting("TOKEN", "").secret();
        reader.setting("KEY", "").secret();
        let shown: Vec<&str> = reader.effective.iter().map(|one| one.shown.as_str()).collect();
        assert_eq!(shown, ["********", "mongodb://********@db/x", "none", "none"]);
        let told = reader.finish(()).unwrap_err().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with("TOKEN:") && lines[1].starts_with("KEY:") && lines.len() == 2, "{told}");
        assert!(!told.contains("hunter"), "{told}");
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
