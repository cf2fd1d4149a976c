//! Settings of the services as their programs: from files, told at their start, and never with a secret in what is printed.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use bson::doc;
use e2e::{App, NewJob, Status};
use stack::{Profile, Stack, build_program, poll, traces::Receiver};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(60);

/// What nobody may read anywhere.
const PLANTED: &str = "planted-secret";

/// The passwords of the stack's NATS users, as its URLs and variables have them.
const NATS_PASSWORDS: [&str; 3] = ["loopback-api", "loopback-job", "loopback-operator"];

async fn run(program: &str, arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Output {
    let path = build_program(program, Profile::Dev).await.unwrap();
    let mut command = Command::new(path);
    command.args(arguments).current_dir(folder).env_clear().envs(variables.iter().copied());
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(SOON, ended).await.expect("it ends by itself").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_service_says_what_holds_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    file(
        "config/staging.yaml",
        "log: debug\nnats:\n  url: nats://me:planted-secret@broker:4222\njob-service:\n  lease_s: 12\n",
    );
    file("password", "planted-secret\n");
    file(".env", "OUTBOX_MAX=7\nLOG=warn\n");
    let variables =
        [("ENV", "staging"), ("NATS_USER", "me"), ("NATS_PASSWORD_FILE", "password"), ("RECONCILE_S", "2")];

    let shown = run("api-service", &["config"], folder.path(), &variables).await;
    assert!(shown.status.success(), "{shown:?}");
    let shown = text(&shown.stdout);
    let row = |name: &str| {
        let row = shown.lines().find(|line| line.split_whitespace().next() == Some(name));
        row.unwrap_or_else(|| panic!("no {name} in {shown}"))
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row("LOG"), "warn .env");
    assert_eq!(row("OUTBOX_MAX"), "7 .env");
    assert_eq!(row("RECONCILE_S"), "2 environment");
    assert_eq!(row("NATS_URL"), "nats://********@broker:4222 config/staging.yaml, nats.url");
    assert_eq!(row("NATS_PASSWORD"), "******** file password");
    assert_eq!(row("API_MONGO_URI"), "mongodb://127.0.0.1:27017 default");
    assert!(!shown.contains(PLANTED) && !shown.contains("LEASE_S"), "{shown}");

    let shown = run("job-service", &["config"], folder.path(), &variables).await;
    let shown = text(&shown.stdout);
    assert!(
        shown.lines().any(|line| line.starts_with("LEASE_S ") && line.ends_with("job-service.lease_s")),
        "{shown}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_at_once_with_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), "outbox_maximum = 5\nreconcile_s = 'often'\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let variables = [
        ("APP_CONFIG_PATH", path),
        ("APP_CONFIG_FILENAME", "mine"),
        ("API_ADDR", "here"),
        ("API_MONGO_URI_FILE", "/no/such/file"),
    ];
    for command in ["serve", "config"] {
        let refused = run("api-service", &[command], folder.path(), &variables).await;
        assert_eq!(refused.status.code(), Some(78), "{refused:?}");
        let told = text(&refused.stderr);
        assert!(
            told.contains("API_ADDR:") && told.contains("API_MONGO_URI: API_MONGO_URI_FILE names"),
            "{told}"
        );
        assert!(told.contains("RECONCILE_S (") && told.contains("mine.toml, reconcile_s"), "{told}");
        assert!(told.contains("outbox_maximum: there is no such setting; is OUTBOX_MAX meant?"), "{told}");
    }
    let missing = run("job-service", &["config"], folder.path(), &[("APP_CONFIG_FILENAME", "other")]).await;
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).contains("APP_CONFIG_FILENAME"), "{missing:?}");
    // A variable may belong to somebody else, so it is only told.
    let slip = run("job-service", &["config"], folder.path(), &[("LEASES_S", "5")]).await;
    assert!(slip.status.success() && text(&slip.stderr).contains("is LEASE_S meant?"), "{slip:?}");
}

/// In what a service prints at its start about a URI that makes no sense.
#[tokio::test]
async fn no_secret_is_in_an_error_about_a_uri() {
    let folder = tempfile::tempdir().unwrap();
    for (program, name) in [("api-service", "API_MONGO_URI"), ("job-service", "JOB_MONGO_URI")] {
        for uri in [
            "mongodb://user:planted-secret/with@stroke@host",
            "mongodb://user:planted-secret@host:port",
            "mongodb://user:planted-secret@host/?noSuchOption=1&tlsInsecure=perhaps",
            "planted-secret",
        ] {
            let addresses = [("API_ADDR", "127.0.0.1:0"), ("WORKER_HEALTH_ADDR", "127.0.0.1:0"), (name, uri)];
            let refused = run(program, &["serve"], folder.path(), &addresses).await;
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            let told = text(&refused.stdout) + &text(&refused.stderr);
            assert!(told.contains(name) && !told.contains(PLANTED), "{uri}: {told}");
        }
        let addresses = [
            ("API_ADDR", "127.0.0.1:0"),
            ("WORKER_HEALTH_ADDR", "127.0.0.1:0"),
            ("NATS_URL", "nats://user:planted-secret@host:port"),
        ];
        let refused = run(program, &["serve"], folder.path(), &addresses).await;
        let told = text(&refused.stdout) + &text(&refused.stderr);
        assert!(told.contains("NATS") && !told.contains(PLANTED), "{told}");
    }
}

/// With every line logged that there is, while jobs run and servers are away.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_a_run_prints() {
    let planted = |name: &str, url: &str| {
        if !name.ends_with("mongo") {
            return url.to_owned();
        }
        create_user(url);
        url.replacen("mongodb://", &format!("mongodb://hasty:{PLANTED}@"), 1) + "?authSource=admin"
    };
    let receiver = Receiver::start().unwrap();
    let builder = Stack::builder().api(1).workers(1).env("LOG", "trace").env("WORKER_FAULTS", true);
    let header = format!("authorization=Bearer%20{PLANTED}");
    let builder = builder.traces(&receiver).env("OTEL_EXPORTER_OTLP_HEADERS", header);
    let app = App::start(builder.route(planted)).await;
    let wanted = NewJob::fault(&["retry", "fail"]);
    assert_eq!(app.ended_within(&app.create(&wanted).await, SOON).await.status, Status::Failed);
    for server in [app.stack().nats(), app.stack().job_mongo(), app.stack().api_mongo()] {
        server.restart().await.unwrap();
        let taken = poll::until("a job to be taken again", SOON, || async {
            let answer = app.try_create(&NewJob::noop()).await;
            if answer.status == 201 { Ok(answer.job()) } else { Err(answer.body) }
        });
        let job = taken.await.unwrap();
        assert_eq!(app.ended_within(&job, SOON).await.status, Status::Finished);
    }
    assert_eq!(receiver.authorization(), Some(format!("Bearer {PLANTED}")));
    for service in app.stack().apis().iter().chain(app.stack().workers()) {
        let log = fs::read(service.log().path()).unwrap();
        let log = text(&log);
        assert!(log.contains("TRACE"), "nothing was logged");
        for secret in NATS_PASSWORDS.iter().chain(&[PLANTED]) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret}");
        }
    }
}

/// The user that the planted secret is the password of. Called where a runtime runs, so on a thread of its own.
fn create_user(url: &str) {
    let url = url.to_owned();
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let admin = mongodb::Client::with_uri_str(&url).await.unwrap().database("admin");
            let user = doc! { "createUser": "hasty", "pwd": PLANTED, "roles": ["root"] };
            admin.run_command(user).await.unwrap();
        });
    });
    made.join().unwrap();
}
