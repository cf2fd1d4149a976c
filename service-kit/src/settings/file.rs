//! The configuration file: JSON, YAML or TOML.
//!
//! It is found by two variables: `APP_CONFIG_PATH`, a folder, and `APP_CONFIG_FILENAME`, a name with or without its ending. Its
//! keys are the settings' names, in any case; a part of a name may stand as a key with the rest of it below:
//! `nats: { url: … }` is `NATS_URL`. What stands below the name of a service is for that service alone.

use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map, Source, Value, ValueKind};

/// A folder, and what is looked for in it.
pub(super) const PATH: &str = "APP_CONFIG_PATH";
pub(super) const FILENAME: &str = "APP_CONFIG_FILENAME";

/// What names the file where [`FILENAME`] does not.
pub(super) const ENV: &str = "ENV";

/// The folder where [`PATH`] names none.
const DEFAULT_PATH: &str = "config";

/// The name where neither [`FILENAME`] nor [`ENV`] has one.
const DEFAULT_NAME: &str = "local";

/// The services, whose names part a file.
const SERVICES: [&str; 2] = ["api-service", "job-service"];

const FORMATS: [(&str, FileFormat); 4] = [
    ("json", FileFormat::Json),
    ("yaml", FileFormat::Yaml),
    ("yml", FileFormat::Yaml),
    ("toml", FileFormat::Toml),
];

/// A value that a configuration file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The setting's name, in lower case.
    pub(super) name: String,
    /// The key as the file has it.
    pub(super) key: String,
    /// The value as a variable of the environment would have it.
    pub(super) text: String,
}

/// What a configuration file has.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The file.
    pub(super) path: PathBuf,
    /// What it sets for this service; of two entries of one setting the later counts, which is the service's own.
    pub(super) entries: Vec<Entry>,
}

/// The file of the service with this name, as these variables have it; none where none is asked for and none is there.
///
/// # Errors
/// What is wrong with it, a line each.
pub(super) fn read(
    service: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Contents>, Vec<String>> {
    let (folder, name) = (variable(PATH), variable(FILENAME));
    let is_wanted = folder.is_some() || name.is_some();
    let folder = PathBuf::from(folder.unwrap_or_else(|| DEFAULT_PATH.to_owned()));
    let name = name
        .or_else(|| variable(ENV).filter(|name| is_plain(name)))
        .unwrap_or_else(|| DEFAULT_NAME.to_owned());
    let Some((path, format)) = find(&folder, &name).map_err(|wrong| vec![wrong])? else {
        if is_wanted {
            let place = folder.join(&name);
            return Err(vec![format!(
                "{PATH}, {FILENAME}: there is no {}, with .json, .yaml, .yml or .toml",
                place.display()
            )]);
        }
        return Ok(None);
    };
    let text =
        std::fs::read_to_string(&path).map_err(|error| vec![format!("{}: {error}", path.display())])?;
    let entries = entries(&text, format, service).map_err(|wrong| {
        wrong.into_iter().map(|wrong| format!("{}: {wrong}", path.display())).collect::<Vec<_>>()
    })?;
    Ok(Some(Contents { path, entries }))
}

/// Some shells have a path in `ENV`.
fn is_plain(name: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    name.chars().all(is_allowed) && !name.starts_with('.')
}

fn find(folder: &Path, name: &str) -> Result<Option<(PathBuf, FileFormat)>, String> {
    let given = Path::new(name).extension().and_then(|ending| ending.to_str());
    if let Some((_, format)) = FORMATS.iter().find(|(ending, _)| given == Some(ending)) {
        let path = folder.join(name);
        return Ok(path.exists().then_some((path, *format)));
    }
    let there: Vec<(PathBuf, FileFormat)> = FORMATS
        .iter()
        .map(|(ending, format)| (folder.join(format!("{name}.{ending}")), *format))
        .filter(|(path, _)| path.exists())
        .collect();
    match there.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, other, ..] => {
            Err(format!("{} and {}: only one of them can count", one.0.display(), other.0.display()))
        }
    }
}

/// What the file's text sets for this service.
fn entries(text: &str, format: FileFormat, service: &str) -> Result<Vec<Entry>, Vec<String>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let table = File::from_str(text, format).collect().map_err(|error| vec![error.to_string()])?;
    let (mut common, mut own, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in sorted(table) {
        match (SERVICES.contains(&key.as_str()), value.kind) {
            (true, ValueKind::Table(table)) if key == service => {
                for (inner, value) in sorted(table) {
                    flatten(&inner, &format!("{key}.{inner}"), value, &mut own, &mut wrong);
                }
            }
            (true, ValueKind::Table(_) | ValueKind::Nil) => {}
            (true, _) => wrong.push(format!("{key}: must have settings below it")),
            (false, kind) => {
                flatten(&key, &key, Value::new(None, kind), &mut common, &mut wrong);
            }
        }
    }
    common.append(&mut own);
    if wrong.is_empty() { Ok(common) } else { Err(wrong) }
}

fn sorted(table: Map<String, Value>) -> Vec<(String, Value)> {
    let mut pairs: Vec<(String, Value)> = table.into_iter().collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs
}

fn flatten(name: &str, key: &str, value: Value, entries: &mut Vec<Entry>, wrong: &mut Vec<String>) {
    let text = match value.kind {
        ValueKind::Table(table) => {
            for (inner, value) in sorted(table) {
                flatten(&format!("{name}_{inner}"), &format!("{key}.{inner}"), value, entries, wrong);
            }
            return;
        }
        ValueKind::Nil => return,
        ValueKind::Array(values) => {
            let texts: Option<Vec<String>> = values.into_iter().map(|value| scalar(value.kind)).collect();
            let Some(texts) = texts else {
                wrong.push(format!("{key}: a list may have texts and numbers only"));
                return;
            };
            texts.join(",")
        }
        kind => scalar(kind).unwrap_or_default(),
    };
    entries.push(Entry { name: name.to_lowercase(), key: key.to_owned(), text });
}

/// The text of what has no parts.
fn scalar(kind: ValueKind) -> Option<String> {
    match kind {
        ValueKind::Table(_) | ValueKind::Array(_) => None,
        kind => Some(kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, format: FileFormat, service: &str) -> Vec<(String, String)> {
        let entries = entries(text, format, service).unwrap();
        entries.into_iter().map(|entry| (entry.name, entry.text)).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn all_three_formats_say_the_same() {
        let yaml = "lease_s: 0.5\nWORKER_QUEUES: [a, b]\nnats:\n  url: nats://n\n  user: null\nworker_faults: true\n";
        let toml = "lease_s = 0.5\nWORKER_QUEUES = ['a', 'b']\nworker_faults = true\nnats.url = 'nats://n'\n";
        let json = r#"{"lease_s": 0.5, "WORKER_QUEUES": ["a", "b"], "nats": {"url": "nats://n"}, "worker_faults": true}"#;
        let mut right = owned(&[
            ("lease_s", "0.5"),
            ("nats_url", "nats://n"),
            ("worker_faults", "true"),
            ("worker_queues", "a,b"),
        ]);
        right.sort();
        for (text, format) in [(yaml, FileFormat::Yaml), (toml, FileFormat::Toml), (json, FileFormat::Json)] {
            let mut pairs = pairs(text, format, "job-service");
            pairs.sort();
            assert_eq!(pairs, right, "{format:?}");
        }
    }

    #[test]
    fn what_is_below_a_services_name_is_its_own_and_comes_last() {
        let text = "api-service: {log: debug, outbox_max: 5}\njob-service: {lease_s: 3}\nlog: warn\n";
        let of = |service| pairs(text, FileFormat::Yaml, service);
        assert_eq!(of("api-service"), owned(&[("log", "warn"), ("log", "debug"), ("outbox_max", "5")]));
        assert_eq!(of("job-service"), owned(&[("log", "warn"), ("lease_s", "3")]));
    }

    #[test]
    fn a_service_without_settings_and_a_list_of_lists_are_wrong() {
        let wrong = entries("api-service: 5\nqueues: [[a]]\n", FileFormat::Yaml, "api-service").unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("api-service:") && wrong[1].starts_with("queues:"), "{wrong:?}");
    }

    #[test]
    fn a_file_is_found_by_its_folder_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let read = |variables: &[(&str, &str)]| {
            let variables = owned(variables);
            let found = read("api-service", |name| {
                variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            });
            found.map(|contents| contents.map(|contents| contents.entries.len()))
        };
        std::fs::write(folder.path().join("local.yaml"), "log: info\n").unwrap();
        std::fs::write(folder.path().join("production.toml"), "log = 'info'\nlease_s = 1\n").unwrap();
        assert_eq!(read(&[(PATH, &path)]), Ok(Some(1)));
        assert_eq!(read(&[(PATH, &path), (ENV, "production")]), Ok(Some(2)));
        assert_eq!(read(&[(PATH, &path), (ENV, "/root/.shrc")]), Ok(Some(1)));
        assert_eq!(read(&[(PATH, &path), (ENV, "production"), (FILENAME, "local")]), Ok(Some(1)));
        assert_eq!(read(&[(PATH, &path), (FILENAME, "production.toml")]), Ok(Some(2)));
        // None is needed unless it is asked for.
        assert_eq!(read(&[(ENV, "no-such-file")]), Ok(None));
        let missing = read(&[(PATH, &path), (FILENAME, "other")]).unwrap_err();
        assert!(missing[0].contains(FILENAME) && missing[0].contains("other"), "{missing:?}");
        std::fs::write(folder.path().join("local.json"), "{}").unwrap();
        let two = read(&[(PATH, &path)]).unwrap_err();
        assert!(two[0].contains("local.json") && two[0].contains("local.yaml"), "{two:?}");
        std::fs::write(folder.path().join("broken.yaml"), "log: [info\n").unwrap();
        let broken = read(&[(PATH, &path), (FILENAME, "broken")]).unwrap_err();
        assert!(broken[0].contains("broken.yaml"), "{broken:?}");
    }
}
