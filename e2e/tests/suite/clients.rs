//! The clients for others: the Rust one, and the Python one that is made of the API's document.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use bson::doc;
use e2e::{App, Shared};
use futures::TryStreamExt;
use hasty_client::{
    Client, Error, Filter, JobId, JsonText, NewJob, QueueState, Settings, Status, WorkerId, WorkerState,
};
use serde_json::json;
use stack::{Stack, poll};
use tokio::process::Command;

static STACK: Shared = Shared::new(|| Stack::builder().api(1).workers(1));

/// Longer than any job here takes.
const AT_MOST: Duration = Duration::from_secs(60);

fn noop(queue: &str) -> NewJob {
    NewJob::new("noop").unwrap().queue(queue.parse().unwrap())
}

fn client(app: &App) -> Client {
    Client::with_settings(app.stack().url(), Settings { proxies: false, ..Settings::default() }).unwrap()
}

fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    let error = answer.expect_err("it is refused");
    error.code().unwrap_or_else(|| panic!("{error:?}")).to_owned()
}

#[tokio::test]
async fn the_rust_client_shows_the_system_at_a_glance_and_drains_a_worker() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let client = client(&app);
    let there = || async { client.workers().await.unwrap().workers.pop() };
    let worker = poll::until("a worker", AT_MOST, there).await.unwrap();
    let drained = client.drain(&worker.id).await.unwrap();
    assert_eq!(drained.id, worker.id);
    assert_ne!(drained.state, WorkerState::Running);

    // More queues than a page has.
    let jobs: Vec<NewJob> = (0..120).map(|number| noop(&format!("many-{number:03}"))).collect();
    for created in client.create_all(&jobs).await.unwrap() {
        created.unwrap();
    }
    let queues: Vec<QueueState> = client.queues().try_collect().await.unwrap();
    let many = queues.iter().filter(|queue| queue.queue.as_str().starts_with("many-"));
    assert_eq!(many.map(|queue| queue.waiting.normal.count).collect::<Vec<_>>(), [1; 120]);
    let stats = client.stats().await.unwrap();
    assert_eq!((stats.waiting.count, stats.workers, stats.slots), (120, 1, worker.slots.into()));

    assert_eq!(client.resume(&worker.id).await.unwrap().state, WorkerState::Running);
    let gone = client.drain(&WorkerId::from("nobody".to_owned())).await;
    assert_eq!(code(gone), "worker_not_found");
}

#[tokio::test]
async fn the_rust_client_creates_waits_lists_and_cancels() {
    let app = STACK.app().await;
    let client = client(&app);
    let shuffle = NewJob::new("shuffle").unwrap().payload(&json!({ "text": "hasty", "pause_s": 0 })).unwrap();
    let job = client.create(&shuffle).await.unwrap();
    let ended = client.wait(job.id, AT_MOST).await.unwrap();
    assert_eq!(
        (ended.status, ended.result.unwrap().as_str().len()),
        (Status::Finished, r#"{"text":"hasty"}"#.len())
    );
    assert_eq!(client.attempts(job.id).await.unwrap().len(), 1);

    // A payload goes to the letter.
    let text = r#"{"z":1.0e2,"a":123456789012345678901234567890}"#;
    let payload = JsonText::from_stored(text.to_owned()).unwrap();
    let own = NewJob::new("own").unwrap().payload(&payload).unwrap();
    let mut sent = vec![client.create(&own).await.unwrap()];
    sent.extend(client.create_all(&[own]).await.unwrap().into_iter().map(Result::unwrap));
    for job in sent {
        assert_eq!(client.get(job.id).await.unwrap().payload.unwrap().as_str(), text);
    }

    // More than a page.
    let created = client.create_all(&vec![noop("rust-list"); 70]).await.unwrap();
    let created: HashSet<JobId> = created.into_iter().map(|job| job.unwrap().id).collect();
    let filter = Filter { queue: Some("rust-list".parse().unwrap()), ..Filter::default() };
    let listed: Vec<JobId> = client.list(&filter).map_ok(|job| job.id).try_collect().await.unwrap();
    assert_eq!((listed.len(), listed.into_iter().collect::<HashSet<_>>()), (70, created));

    let waiting = client.create(&noop("rust-nobody")).await.unwrap();
    client.cancel(waiting.id, Some("not needed")).await.unwrap();
    let ended = client.wait(waiting.id, AT_MOST).await.unwrap();
    assert_eq!((ended.status, ended.cancel_reason.as_deref()), (Status::Cancelled, Some("not needed")));
    assert_eq!(client.retry(waiting.id).await.unwrap().run, 2);
}

#[tokio::test]
async fn the_rust_client_tells_problems_by_their_code() {
    let app = STACK.app().await;
    let client = client(&app);
    let ended = client.create_with_key(&noop("default"), "rust-1").await.unwrap();
    client.wait(ended.id, AT_MOST).await.unwrap();
    let unended = client.create(&noop("rust-nobody").object_id("rust-object")).await.unwrap();

    assert_eq!(client.create_with_key(&noop("default"), "rust-1").await.unwrap().id, ended.id);
    assert_eq!(code(client.create_with_key(&noop("mail"), "rust-1").await), "idempotency_key_reused");
    assert_eq!(code(client.create(&noop("default").object_id("rust-object")).await), "duplicate_object");
    assert_eq!(code(client.create(&noop("default").timeout_s(0)).await), "invalid_field");
    assert_eq!(code(client.get(JobId::generate()).await), "job_not_found");
    assert_eq!(code(client.cancel(ended.id, None).await), "already_ended");
    assert_eq!(code(client.retry(unended.id).await), "not_ended");
    assert_eq!(code(client.delete(unended.id).await), "not_ended");
    client.delete(ended.id).await.unwrap();
    assert_eq!(code(client.create_with_key(&noop("default"), "rust-1").await), "job_gone");

    let error =
        client.create(&NewJob::new("sleep").unwrap().payload(&json!({ "min_s": "1" })).unwrap()).await;
    let Err(Error::Problem(problem)) = error else { panic!("{error:?}") };
    let wrong: Vec<_> =
        problem.errors.iter().map(|error| (error.place.as_str(), error.field.as_str())).collect();
    assert_eq!(wrong, [("body", "payload.min_s")]);
    assert!(matches!(NewJob::new("No Kind"), Err(Error::Invalid(_))));
}

/// A replica dies between storing a job and its answer: the client asks again, and there is one job all the same.
#[tokio::test]
async fn the_rust_client_creates_once_what_it_asks_for_twice() {
    let stack = Stack::builder().api(2).workers(0).api_env(0, "FAILPOINTS", "api.create.stored=1*return");
    let app = App::start(stack).await;
    let client = client(&app);
    let mut created = HashSet::new();
    while app.stack().api(0).is_running() {
        created.insert(client.create(&noop("rust-once")).await.unwrap().id);
    }
    assert_eq!(app.stored_jobs(doc! { "queue": "rust-once" }).await, created.len() as u64);
}

#[tokio::test]
async fn the_python_client_does_as_much() {
    let app = STACK.app().await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/python");
    let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../clients/python");
    run(Command::new(clients.join("generate")).arg(&folder)).await;
    for script in ["check.py", "example.py"] {
        let script = clients.join(script);
        run(Command::new("python3").arg(script).arg(app.stack().url()).env("PYTHONPATH", &folder)).await;
    }
}

async fn run(command: &mut Command) {
    let output =
        command.kill_on_drop(true).output().await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {} {}", said(&output.stdout), said(&output.stderr));
}
