//! The alert rules, as Prometheus's own tool sees them.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use stack::Prometheus;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all alerts.
fn alerts() -> BTreeSet<String> {
    let names = stack::ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn rules_are_right_and_do_what_their_tests_say() {
    let promtool = Prometheus::find().await.unwrap().promtool;
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let done = Command::new(&promtool).args(arguments).current_dir(root().join("monitoring")).output();
        let done = done.unwrap();
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.contains("SUCCESS"), "{arguments:?}: {said}");
    }
}

#[test]
fn every_alert_has_a_test_and_a_page() {
    let alerts = alerts();
    assert!(alerts.len() > 10, "{alerts:?}");
    let tests = fs::read_to_string(root().join("monitoring/alerts.test.yml")).unwrap();
    for alert in &alerts {
        let lines = tests.lines().skip_while(|line| !line.ends_with(&format!("alertname: {alert}")));
        assert!(
            lines.take(2).any(|line| line.contains("exp_alerts")),
            "{alert} is not seen to fire in a test"
        );
        let page = format!("docs/runbooks/{alert}.md");
        assert!(stack::ALERTS.contains(&format!("runbook: {page}")), "{alert} does not name {page}");
    }
    let pages = fs::read_dir(root().join("docs/runbooks")).unwrap();
    let pages = pages.map(|page| page.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    assert_eq!(pages.collect::<BTreeSet<_>>(), alerts);
}
