//! The API's document and the table of problems are what the code says. `UPDATE_DOCS=1` writes them.

mod breaking;

use std::{fs, path::PathBuf};

const HOW: &str = "differs: UPDATE_DOCS=1 cargo test -p api-service --test document";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Makes sure that a file has this text; writes it where it is to be updated.
fn is(name: &str, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(name), text).expect("the file can be written");
    }
    assert!(fs::read_to_string(path(name)).unwrap_or_default() == text, "{name} {HOW}");
}

#[test]
fn the_document_is_what_the_code_says() {
    let text = serde_json::to_string_pretty(&api_service::document().unwrap()).unwrap();
    is("docs/openapi.json", &format!("{text}\n"));
}

#[test]
fn the_table_of_problems_is_what_the_code_says() {
    let rows = api_service::problem_types().into_iter().map(|problem_type| {
        let api_service::http::ProblemType { code, status, meaning, remedy, .. } = problem_type;
        format!("| `{code}` | {status} | {meaning} | {remedy} |\n")
    });
    let table: String = ["| code | status | means | what to do |\n|---|---|---|---|\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    let api = fs::read_to_string(path("docs/api.md")).unwrap();
    let (before, rest) = api.split_once("<!-- problems -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of problems -->\n").unwrap();
    is("docs/api.md", &format!("{before}<!-- problems -->\n{table}<!-- end of problems -->\n{after}"));
}

/// nginx answers some problems itself; each has a type of the table.
#[test]
fn the_problems_of_nginx_are_in_the_table() {
    let conf = fs::read_to_string(path("nginx/http.conf")).unwrap();
    let bodies =
        conf.lines().filter_map(|line| line.split_once('\'').map(|(_, body)| body.trim_end_matches("';")));
    let mut found = 0;
    for body in bodies.filter(|body| body.starts_with("{\"type\":\"/problems/")) {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let known = api_service::problem_types().into_iter().find(|known| body["code"] == known.code);
        let known = known.unwrap_or_else(|| panic!("{body}"));
        assert_eq!(
            (body["type"].as_str().unwrap(), body["status"].as_u64()),
            (&*known.uri(), Some(known.status.into()))
        );
        found += 1;
    }
    assert!(found > 10, "{found}");
}

/// A client of the first version goes on working, or `docs/api-changes.md` tells it what has changed.
#[test]
fn what_breaks_a_client_is_told() {
    let frozen = fs::read_to_string(path("api-service/fixtures/v1/openapi.json")).unwrap();
    let frozen = serde_json::from_str(&frozen).unwrap();
    let told = fs::read_to_string(path("docs/api-changes.md")).unwrap();
    let breaks = breaking::breaking_changes(&frozen, &api_service::document().unwrap());
    let untold: Vec<String> = breaks.into_iter().filter(|found| !told.contains(found.as_str())).collect();
    assert!(untold.is_empty(), "docs/api-changes.md has to say why:\n{}", untold.join("\n"));
}
