//! The table of spans in the documentation is what the services' code says.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::Path};

use service_kit::telemetry::traces::SpanType;

const START: &str = "<!-- table -->\n";
const END: &str = "<!-- end of the table -->";

fn services() -> [(&'static str, &'static [&'static SpanType]); 2] {
    [("api", api_service::traces::SPAN_TYPES), ("job", job_service::traces::SPAN_TYPES)]
}

/// With `UPDATE_DOCS=1` it is written.
#[test]
fn the_table_of_spans_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/traces.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(START).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let head = "| service | span | kind | attributes | meaning |\n|---|---|---|---|---|\n";
    let rows = services().into_iter();
    let rows = rows.flat_map(|(name, types)| types.iter().map(move |one| one.to_markdown(name) + "\n"));
    let right = format!("{before}{START}{head}{}{END}{after}", rows.collect::<String>());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert_eq!(document, right, "write it anew with UPDATE_DOCS=1 cargo test -p hasty traces");
    }
}

#[test]
fn no_two_spans_of_a_service_have_one_name() {
    for (service, types) in services() {
        let names: BTreeSet<&str> = types.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), types.len(), "{service}");
    }
}
