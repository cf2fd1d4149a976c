//! Jobs go out as lines and come in again: into another system, and twice into the same one.

use std::path::Path;
use std::process::ExitCode;

use bson::doc;
use e2e::{Answer, App, JobView, NewJob, Shared, Status};
use hasty::fsck;
use hasty::transfer::{ExportOptions, ImportOptions, export, import};
use hasty_client::{JobId, Timestamp};
use lab::endpoints;
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Builder, Stack};

static STACK: Shared = Shared::new(with_faults);

fn with_faults() -> Builder {
    Stack::builder().api(2).workers(1).env("WORKER_FAULTS", true)
}

async fn exported(app: &App) -> Vec<Value> {
    let answer = app.get("/v1/export?what=jobs").await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn take_in(app: &App, lines: &[String]) -> Answer {
    let request = app.request(Method::POST, "/v1/import").header("Content-Type", "application/x-ndjson");
    app.send(request.body(lines.join("\n"))).await
}

fn statuses(answer: Answer) -> Vec<u64> {
    let results = answer.expect(200).json()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

/// The line of a job that has finished.
fn finished() -> Value {
    let id = JobId::generate();
    let millis = id.uuid().get_timestamp().unwrap().to_unix();
    let at = i64::try_from(millis.0).unwrap() * 1000 + i64::from(millis.1 / 1_000_000);
    let at = Timestamp::from_millis(at);
    json!({ "job": { "id": id, "created_at": at, "kind": "noop", "status": "finished", "run": 1, "ended_at": at } })
}

async fn fsck_is_clean(app: &App) {
    let report = fsck::check(&endpoints(app.stack())).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn another_system_goes_on_with_what_one_has_exported() {
    let (from, to) = (App::start(with_faults()).await, App::start(with_faults()).await);
    let finished = from.create(&NewJob::shuffle("abc").object("a").with("keep_s", 4000)).await;
    let failed = from.create(&NewJob::fault(&["retry", "fail"])).await;
    let later = from.create(&NewJob::noop().with("delay_s", 86_400).with("start_within_s", 9)).await;
    let waiting = from.create(&NewJob::noop().queue("nobody").priority("high")).await;
    let stuck = from.create(&NewJob::noop().queue("stuck")).await;
    let ended = from.all_ended(&[finished.clone(), failed.clone()]).await;
    let twice = from.post(&format!("/v1/jobs/{}/retry", failed.id), &json!({})).await.expect(202).job();
    let twice = from.ended(&twice).await;
    assert_eq!(twice.run, 2);

    let mut lines = exported(&from).await;
    assert_eq!(lines.pop(), Some(json!({ "end": { "jobs": 5, "unreadable": 0 } })), "it is complete");
    let in_order: Vec<&str> = lines.iter().map(|line| line["job"]["id"].as_str().unwrap()).collect();
    assert_eq!(in_order, [&finished, &failed, &later, &waiting, &stuck].map(|job| job.id.as_str()));
    // As if the worker there served it.
    lines[4]["job"]["queue"] = "default".into();
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    assert_eq!(statuses(take_in(&to, &lines).await), [201; 5]);

    for job in [&ended[0], &twice] {
        assert_eq!(to.job(job).await, *job, "what had ended is as it was");
    }
    let attempts = to.get(&format!("/v1/jobs/{}/attempts", failed.id)).await.expect(200).json();
    assert_eq!(attempts["attempts"].as_array().unwrap().len(), twice.attempt as usize, "{attempts}");
    assert_eq!(to.job(&later).await, later, "it waits for its time");
    let again = to.job(&waiting).await;
    assert_eq!((again.status, again.run, again.priority.as_str()), (Status::Queued, 2, "high"));
    let runs = to.ended(&stuck).await;
    assert_eq!((runs.status, runs.run), (Status::Finished, 2), "what had not ended starts a new run");
    fsck_is_clean(&to).await;

    assert_eq!(statuses(take_in(&to, &lines).await), [200; 5], "the same lines again change nothing");
    assert_eq!(to.job(&stuck).await, runs);
    let retried = to.post(&format!("/v1/jobs/{}/retry", finished.id), &json!({})).await.expect(202).job();
    assert_eq!(to.ended(&retried).await.run, 2);
    fsck_is_clean(&to).await;
}

#[tokio::test]
async fn a_bad_line_is_answered_by_itself_and_hinders_no_other() {
    let app = STACK.app().await;
    let mut wrong = finished();
    wrong["job"]["queue"] = "NO".into();
    wrong["job"]["attempts"] = json!([{ "attempt": "x" }]);
    let mut without_end = finished();
    without_end["job"].as_object_mut().unwrap().remove("ended_at");
    let lines = [
        finished().to_string(),
        "{".to_owned(),
        wrong.to_string(),
        String::new(),
        without_end.to_string(),
        r#"{"shoe":1}"#.to_owned(),
        r#"{"end":{"jobs":1}}"#.to_owned(),
        finished().to_string(),
    ];
    let answer = take_in(&app, &lines).await.expect(200).json();
    let results = answer["results"].as_array().unwrap();
    let of = |name: &str| results.iter().map(|result| result[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("line"), [1, 2, 3, 5, 6, 7, 8], "{answer}");
    assert_eq!(of("status"), [201, 400, 422, 422, 422, 200, 201], "{answer}");
    let fields = |index: usize| {
        let errors = results[index]["error"]["errors"].as_array().unwrap().clone();
        errors.into_iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(fields(2), ["job.queue", "job.attempts"]);
    assert_eq!(fields(3), ["job.ended_at"]);
}

#[tokio::test]
async fn what_is_no_import_is_refused() {
    let app = STACK.app().await;
    assert_eq!(take_in(&app, &[]).await.expect(422).problem().code, "invalid_field");
    let json = app.post("/v1/import", &finished()).await;
    assert_eq!(json.expect(415).problem().code, "unsupported_media_type");
    assert_eq!(
        take_in(&app, &vec!["{}".to_owned(); 10_001]).await.expect(422).problem().code,
        "invalid_field"
    );
    assert_eq!(app.get("/v1/export").await.expect(400).problem().fields(), ["what"]);
    assert_eq!(app.get("/v1/export?what=shoes").await.expect(400).problem().fields(), ["what"]);
}

#[tokio::test]
async fn a_deleted_job_stays_deleted() {
    let app = STACK.app().await;
    let line = finished();
    assert_eq!(statuses(take_in(&app, &[line.to_string()]).await), [201]);
    let path = format!("/v1/jobs/{}", line["job"]["id"].as_str().unwrap());
    app.send(app.request(Method::DELETE, &path)).await.expect(204);
    assert_eq!(statuses(take_in(&app, &[line.to_string()]).await), [200]);
    assert_eq!(app.get(&path).await.status, 404);
}

async fn import_file(app: &App, path: &Path) -> ExitCode {
    let options = ImportOptions { url: app.stack().url().to_owned(), file: Some(path.to_owned()) };
    import(options).await.unwrap()
}

#[tokio::test]
async fn the_command_line_exports_to_a_file_and_imports_one_of_any_length() {
    const JOBS: usize = 11_000;
    let (from, to) = (App::start(with_faults()).await, App::start(with_faults()).await);
    let folder = tempfile::tempdir().unwrap();
    let (made, exported) = (folder.path().join("made"), folder.path().join("exported"));
    let lines: Vec<String> = (0..JOBS).map(|_| finished().to_string()).collect();
    std::fs::write(&made, lines.join("\n")).unwrap();
    assert_eq!(import_file(&from, &made).await, ExitCode::SUCCESS);

    let options = ExportOptions {
        url: from.stack().url().to_owned(),
        what: "jobs".to_owned(),
        output: Some(exported.clone()),
    };
    assert_eq!(export(options).await.unwrap(), ExitCode::SUCCESS);
    assert_eq!(std::fs::read_to_string(&exported).unwrap().lines().count(), JOBS + 1);
    for _ in 0..2 {
        assert_eq!(import_file(&to, &exported).await, ExitCode::SUCCESS);
        assert_eq!(to.stored_jobs(doc! { "status": "finished" }).await, JOBS as u64);
    }
    std::fs::write(&made, "no line\n").unwrap();
    assert_eq!(import_file(&to, &made).await, ExitCode::FAILURE);
}

/// Much more than a replica keeps of an export at once, which goes on only when its client reads on.
#[tokio::test]
async fn an_export_is_not_in_memory_at_once() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    let large = NewJob::of_kind("own").payload(json!({ "a": "x".repeat(400_000) }));
    let jobs: Vec<JobView> = app.create_many(&large, 8).await;
    let template =
        app.jobs().await.find_one(doc! { "_id": bson::Uuid::parse_str(&jobs[0].id).unwrap() }).await;
    let template = template.unwrap().unwrap();
    for _ in 0..40 {
        let copies = (0..10).map(|_| {
            let mut copy = template.clone();
            copy.insert("_id", bson::Uuid::from_bytes(JobId::generate().uuid().into_bytes()));
            copy
        });
        app.jobs().await.insert_many(copies).await.unwrap();
    }
    let before = rss_mib(&app);
    let answer = app.request(Method::GET, "/v1/export?what=jobs").send().await.unwrap();
    let mut answer = answer.error_for_status().unwrap();
    let (mut bytes, mut most) = (0, 0);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes += chunk.len();
        most = most.max(rss_mib(&app));
    }
    assert!(bytes > 160_000_000, "{bytes} bytes");
    assert!(most < before + 64, "from {before} MiB to {most} MiB");
}

fn rss_mib(app: &App) -> u64 {
    let pid = app.stack().api(0).pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    rss.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}
