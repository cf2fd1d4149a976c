//! The tables of metrics in the documentation are what the services' code says.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::Path};

use service_kit::metrics::Family;

/// Of each table, the heading above it and what stands in it.
fn tables() -> [(&'static str, &'static [&'static dyn Family]); 4] {
    [
        ("api-service", api_service::metrics::FAMILIES),
        ("job-service", job_service::metrics::FAMILIES),
        ("both", service_kit::metrics::FAMILIES),
        ("system", api_service::stats::FAMILIES),
    ]
}

/// With `UPDATE_DOCS=1` they are written.
#[test]
fn the_tables_of_metrics_are_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let mut right = document.clone();
    for (name, families) in tables() {
        let (start, end) = (format!("<!-- table: {name} -->\n"), "<!-- end of the table -->");
        let (before, rest) = right.split_once(&start).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        right = format!("{before}{start}{}{end}{after}", table(families));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert_eq!(document, right, "write it anew with UPDATE_DOCS=1 cargo test -p hasty metrics");
    }
}

/// What Prometheus and OpenMetrics expect.
#[test]
fn names_say_what_they_count_in_base_units() {
    let mut seen = BTreeSet::new();
    for (table, families) in tables() {
        for family in families {
            let (about, labels) = (family.description(), family.labels());
            let name = about.name;
            assert!(name.starts_with("hasty_"), "{name}");
            assert_eq!(name.ends_with("_total"), about.kind == "counter", "{name}");
            assert_eq!(about.bounds.is_empty(), about.kind != "histogram", "{name}");
            assert!(about.bounds.is_sorted(), "{name}");
            for unit in ["_ms", "_milliseconds", "_minutes", "_kib", "_mib"] {
                assert!(!name.contains(unit), "{name}");
            }
            assert!(!labels.contains(&"le"), "{name}");
            // The outbox is each service's own, under one name.
            assert!(seen.insert(name) || name.starts_with("hasty_outbox_"), "{name} twice, in {table} too");
        }
    }
}

fn table(families: &[&dyn Family]) -> String {
    let mut table = String::from("| name | type | labels | meaning |\n|---|---|---|---|\n");
    for family in families {
        let (about, labels) = (family.description(), family.labels());
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        table += &format!("| `{}` | {} | {} | {} |\n", about.name, about.kind, labels.join(", "), about.help);
    }
    table
}
