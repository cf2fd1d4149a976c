//! The table of settings in the documentation is what the services' code says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use service_kit::settings::{Description, ReadSettings, Reader};

const START: &str = "<!-- table -->\n";
const END: &str = "<!-- end of the table -->";

/// With `UPDATE_DOCS=1` it is written.
#[test]
fn the_table_of_settings_is_what_the_code_says() {
    let path = root().join("docs/settings.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(START).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let right = format!("{before}{START}{}{END}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert_eq!(document, right, "write it anew with UPDATE_DOCS=1 cargo test -p hasty settings");
    }
}

#[test]
fn the_example_of_an_env_file_has_each_setting_with_its_default() {
    let example = std::fs::read_to_string(root().join(".env.example")).unwrap();
    let (api, job) =
        (api_service::settings::Settings::descriptions(), job_service::settings::Settings::descriptions());
    for setting in api.iter().chain(&job) {
        let start = format!("#{}=", setting.name);
        let line = example.lines().find_map(|line| line.strip_prefix(&start));
        let value = line.unwrap_or_else(|| panic!("{} is not in .env.example", setting.name));
        // Days are for people; what depends on the machine has some number.
        let default = setting.default.split(" (").next().unwrap().replace([',', '`'], "");
        let is_text = matches!(setting.default.as_str(), "none" | "all");
        let is_right = if is_text { value.is_empty() } else { value == default || default.contains("cores") };
        assert!(is_right, "{}: {value:?} instead of {default:?}", setting.name);
    }
}

/// One file has the variables of both services, and of the compose file.
#[test]
fn no_name_in_the_example_is_taken_for_a_slip() {
    let example = std::fs::read_to_string(root().join(".env.example")).unwrap();
    let names = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let names: Vec<String> =
        names.map(|(name, _)| name.to_owned()).filter(|name| !name.contains(' ')).collect();
    assert!(names.len() > 40, "{names:?}");
    // Values matter to nobody here; empty ones would count as absent.
    let variables = |known: &[Description]| {
        let others = names.iter().filter(|name| known.iter().all(|setting| setting.name != name.as_str()));
        others.map(|name| (name.clone(), "x".to_owned())).collect::<Vec<_>>()
    };
    let doubtful =
        |variables, explain: fn(Reader) -> Vec<String>| explain(Reader::from_variables(variables).unwrap());
    let api = variables(&api_service::settings::Settings::descriptions());
    let job = variables(&job_service::settings::Settings::descriptions());
    let none: Vec<String> = Vec::new();
    assert_eq!(
        doubtful(api, |reader| reader.explain::<api_service::settings::Settings>().unwrap().doubtful),
        none
    );
    assert_eq!(
        doubtful(job, |reader| reader.explain::<job_service::settings::Settings>().unwrap().doubtful),
        none
    );
}

fn table() -> String {
    let (api, job) =
        (api_service::settings::Settings::descriptions(), job_service::settings::Settings::descriptions());
    let both: Vec<&Description> = api.iter().filter(|setting| job.contains(setting)).collect();
    let names: BTreeSet<&str> = both.iter().map(|setting| setting.name).collect();
    let own = |settings: &[Description], service: &str| -> String {
        let own = settings.iter().filter(|setting| !names.contains(setting.name));
        own.map(|setting| setting.to_markdown(service) + "\n").collect()
    };
    let common: String = both.iter().map(|setting| setting.to_markdown("both") + "\n").collect();
    let head = "| variable | service | default | range | meaning |\n|---|---|---|---|---|\n";
    format!("{head}{}{}{common}", own(&api, "api"), own(&job, "job"))
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
