//! `api-service check` and `job-service check`: what they find where all is well, and where something was broken on purpose.

use std::process::Stdio;
use std::time::Duration;

use bson::doc;
use e2e::App;
use serde_json::Value;
use stack::{Profile, Stack, build_program};
use tokio::process::Command;

/// How long a check may take, of servers that do not answer.
const SOON: Duration = Duration::from_secs(60);

/// What a check prints, and whether it is content.
struct Checked {
    findings: Vec<(String, String, String)>,
    exit_code: Option<i32>,
}

impl Checked {
    /// The level of what was found there, and the words.
    fn of(&self, what: &str) -> (&str, &str) {
        let found = self.findings.iter().find(|(_, about, _)| about == what);
        let (level, _, found) = found.unwrap_or_else(|| panic!("nothing about {what}: {:?}", self.findings));
        (level, found)
    }

    /// What was found so, but for the machine's own state.
    fn levels(&self, level: &str) -> Vec<&str> {
        let of_level = self.findings.iter().filter(|(of, ..)| of == level);
        let whats = of_level.map(|(_, what, _)| what.as_str());
        whats.filter(|what| !["MongoDB disk", "clock"].contains(what)).collect()
    }
}

/// The environment of a service on this stack.
fn environment(stack: &Stack, service: &str) -> Vec<(&'static str, String)> {
    let nats = stack.nats().url();
    let (_, address) = nats.rsplit_once('@').unwrap();
    let password = if service == "api-service" { "loopback-api" } else { "loopback-job" };
    vec![
        ("NATS_URL", format!("nats://{address}")),
        ("NATS_USER", service.to_owned()),
        ("NATS_PASSWORD", password.to_owned()),
        ("API_MONGO_URI", stack.api_mongo().url().to_owned()),
        ("JOB_MONGO_URI", stack.job_mongo().url().to_owned()),
        ("WORKER_QUEUES", "default".to_owned()),
    ]
}

async fn check(stack: &Stack, service: &str, others: &[(&'static str, &str)]) -> Checked {
    let path = build_program(service, Profile::Dev).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(path);
    command.args(["check", "--json"]).current_dir(folder.path()).env_clear();
    command.envs(environment(stack, service)).envs(others.iter().copied());
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(SOON, ended).await.expect("it ends by itself").unwrap();
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let findings =
        findings.map(|one| (text(&one["level"]), text(&one["what"]), text(&one["found"]))).collect();
    let checked = Checked { findings, exit_code: ended.status.code() };
    // The machine's own state counts here.
    let has_error = checked.findings.iter().any(|(level, ..)| level == "error");
    assert_eq!(checked.exit_code, Some(i32::from(has_error)), "{:?}", checked.findings);
    checked
}

#[tokio::test]
async fn where_all_is_well_nothing_is_told() {
    let app = App::start(Stack::builder().api(1).workers(1).env("WORKER_QUEUES", "default")).await;
    app.ended(&app.create(&e2e::NewJob::noop()).await).await;
    // Users' indexes, and those of schedules, are made beside.
    for service in ["api-service", "job-service"] {
        let content = || async {
            let checked = check(app.stack(), service, &[]).await;
            let told = checked.levels("warning").len() + checked.levels("error").len();
            if told == 0 { Ok(checked) } else { Err(format!("{:?}", checked.findings)) }
        };
        let checked = stack::poll::until("nothing to be told", SOON, content).await.unwrap();
        assert!(checked.of("stream JOBS").1.contains("of 2048 MiB"), "{:?}", checked.findings);
        assert!(checked.of("NATS rights").1.contains(service));
    }
    let checked = check(app.stack(), "job-service", &[]).await;
    assert!(checked.of("kinds").1.contains("noop") && checked.of("consumer workers-default-high").0 == "ok");
}

#[tokio::test]
async fn before_the_first_start_it_says_what_will_be_made() {
    let app = App::start(Stack::builder().api(0).workers(0)).await;
    let checked = check(app.stack(), "api-service", &[]).await;
    assert_eq!(checked.levels("error"), Vec::<&str>::new(), "{:?}", checked.findings);
    for what in ["stream JOBS", "stream JOB_EVENTS", "stream JOB_CONTROL", "index users.email_key_1"] {
        let (level, found) = checked.of(what);
        assert!(level == "warning" && found.starts_with("is not there"), "{what}: {found}");
    }
    // Nothing was left.
    let left = app.jobs().await.count_documents(doc! {}).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_broken_is_named() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    app.create(&e2e::NewJob::noop()).await;
    let jobs = app.jobs().await;
    jobs.drop_index("until_1").await.unwrap();
    jobs.drop_index("idempotency_key").await.unwrap();
    let plain = mongodb::IndexModel::builder().keys(doc! { "idempotency_key": 1 });
    let named = mongodb::options::IndexOptions::builder().name("idempotency_key".to_owned()).build();
    jobs.create_index(plain.options(named).build()).await.unwrap();

    let checked = check(app.stack(), "api-service", &[("NATS_EVENTS_MAX_MIB", "77")]).await;
    assert_eq!(checked.levels("error"), ["index jobs.idempotency_key"], "{:?}", checked.findings);
    assert_eq!(checked.of("index jobs.until_1").0, "warning");
    let (level, found) = checked.of("stream JOB_EVENTS");
    assert!(level == "warning" && found.contains("would be 80740352"), "{found}");
}

#[tokio::test]
async fn what_does_not_answer_or_does_not_let_in_is_named() {
    // Not an app of the tests', which takes every refusal for a mistake.
    let stack = Stack::builder().api(0).workers(0).start().await.unwrap();
    let wrong = check(&stack, "job-service", &[("NATS_PASSWORD", "wrong")]).await;
    assert_eq!(wrong.levels("error"), ["NATS"], "{:?}", wrong.findings);
    // Another service's user.
    let others = [("NATS_USER", "api-service"), ("NATS_PASSWORD", "loopback-api")];
    let checked = check(&stack, "job-service", &others).await;
    let (level, found) = checked.of("NATS rights");
    assert!(level == "error" && found.contains("_INBOX_job-service"), "{found}");

    stack.job_mongo().kill().await.unwrap();
    let away = check(&stack, "job-service", &[]).await;
    assert_eq!(away.levels("error"), ["MongoDB"], "{:?}", away.findings);
    assert_eq!(away.of("NATS").0, "ok", "all else is looked at");
    stack.stop().await.unwrap();
}
