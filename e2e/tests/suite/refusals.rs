//! A database that cannot store a job: its disk is full, it takes no writes, or it hangs. Nobody gets a 201 for a job
//! that is not stored: it is 503 with `Retry-After`. A broker that is full is nobody's concern but the relay's.

use std::process::Command;
use std::time::Duration;

use bson::{Document, doc};
use e2e::{Answer, App, JobView, NewJob, Status};
use futures::future::join_all;
use serde_json::json;
use stack::{Node, Stack, poll};

const SOON: Duration = Duration::from_secs(90);

/// The disk is full: no file of mongod may grow any more (`RLIMIT_FSIZE`, set from outside while it runs). The error
/// is "file too large" instead of "no space left on device"; mongod does the same about both when it meets them in
/// its journal: it ends at once, since it can not know any more what is on the disk.
#[tokio::test]
async fn a_full_disk_gives_503_and_loses_nothing_that_was_accepted() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let mongo = app.stack().api_mongo();
    let fill = async {
        let stored = || async { app.stored_jobs(doc! {}).await >= 100 };
        poll::until("a hundred jobs", SOON, stored).await.unwrap();
        no_file_may_grow(mongo);
    };
    let (clients, ()) = tokio::join!(join_all((0..8).map(|_| until_refused(&app))), fill);
    poll::until("mongod to end", SOON, || async { !mongo.is_running() }).await.unwrap();
    assert!(mongo.log().contains("File too large"), "{}", mongo.log().tail(5));

    // Started again, without the limit: there is room again.
    mongo.start().await.unwrap();
    let accepted: Vec<JobView> = clients.into_iter().flatten().collect();
    assert!(!accepted.is_empty());
    all_finish(&app, &accepted).await;
    nothing_is_half_there(&app).await;
    all_finish(&app, &[taken_again(&app).await]).await;
}

/// `fsyncLock` lets nobody write: writes wait, reads do not.
#[tokio::test]
async fn writes_that_hang_give_503_and_leave_whole_jobs_or_none() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    admin(app.stack().api_mongo(), doc! { "fsync": 1, "lock": true }).await;
    let refused = all_refused(&app).await;
    app.get("/v1/jobs").await.expect(200);
    admin(app.stack().api_mongo(), doc! { "fsyncUnlock": 1 }).await;
    heals(&app, refused).await;
}

#[tokio::test]
async fn a_database_that_hangs_gives_503_and_leaves_whole_jobs_or_none() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    assert!(app.stack().api_mongo().pause());
    let refused = all_refused(&app).await;
    assert!(app.stack().api_mongo().resume());
    heals(&app, refused).await;
}

/// A replica set without a primary: its only member has stepped down, and refuses all writes.
#[tokio::test]
async fn a_replica_set_without_a_primary_gives_503_until_there_is_one_again() {
    let app = App::start(Stack::builder().replica_set(true).api(1).workers(1)).await;
    let step_down = async {
        let stored = || async { app.stored_jobs(doc! {}).await >= 50 };
        poll::until("fifty jobs", SOON, stored).await.unwrap();
        let step_down = doc! { "replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 0, "force": true };
        admin(app.stack().api_mongo(), step_down).await;
    };
    let (clients, ()) = tokio::join!(join_all((0..4).map(|_| until_refused(&app))), step_down);
    let accepted: Vec<JobView> = clients.into_iter().flatten().collect();
    let last = taken_again(&app).await;
    all_finish(&app, &[accepted, vec![last]].concat()).await;
    nothing_is_half_there(&app).await;
}

#[tokio::test]
async fn a_full_stream_refuses_nobody() {
    let builder = Stack::builder().api(2).workers(1).env("NATS_JOBS_MAX_MIB", 1);
    let app = App::start(builder.env("RELAY_AFTER_S", 0.5).env("RELAY_SCAN_S", 0.2)).await;
    app.stack().worker(0).terminate().await.unwrap();
    let large = NewJob::noop().payload(json!({ "filling": "x".repeat(60_000) }));
    let jobs = app.create_many(&large, 60).await;
    let left =
        || async { app.stored_jobs(doc! { "next_action": { "$in": ["announce", "await_room"] } }).await };
    let full = || async {
        let waiting = app.stream("JOBS").await.cached_info().state.messages;
        let left = left().await;
        // The mark of one that is there stays where its receipt came late: a full stream refuses it a second time.
        if waiting + left >= 60 && left > 30 { Ok(()) } else { Err(format!("{waiting} and {left}")) }
    };
    poll::until("a full stream", SOON, full).await.unwrap();

    app.stack().worker(0).start().await.unwrap();
    all_finish(&app, &jobs).await;
    for job in &jobs {
        assert_eq!(app.job(job).await.attempt, 1);
    }
    poll::until("all marks to come off", SOON, || async { left().await == 0 }).await.unwrap();
}

/// Creates one job after the other until one is refused, as it should be; the accepted ones.
async fn until_refused(app: &App) -> Vec<JobView> {
    let mut accepted = Vec::new();
    loop {
        let answer = app.try_create(&NewJob::noop()).await;
        if answer.status != 201 {
            is_unavailable(answer);
            return accepted;
        }
        accepted.push(answer.job());
    }
}

/// Requests that come one after the other, none of which waits for those before; each is refused while the database
/// still hangs.
async fn all_refused(app: &App) -> usize {
    let requests = (0..4).map(|number| async move {
        // So that they do not share a write.
        tokio::time::sleep(Duration::from_secs(number)).await;
        is_unavailable(app.try_create(&NewJob::noop()).await);
    });
    join_all(requests).await.len()
}

fn is_unavailable(answer: Answer) {
    let answer = answer.expect(503);
    assert_eq!(answer.problem().code, "unavailable");
    assert!((1..=60).contains(&answer.retry_after_s()));
}

/// The api takes jobs again; what was refused meanwhile is there as a whole and ends, or is not there.
async fn heals(app: &App, refused: usize) {
    let job = taken_again(app).await;
    all_finish(app, &[job]).await;
    nothing_is_half_there(app).await;
    let stored = app.stored_jobs(doc! {}).await;
    assert!((1..=refused as u64 + 1).contains(&stored), "{stored}");
}

async fn taken_again(app: &App) -> JobView {
    let taken = poll::until("a job to be taken", 2 * SOON, || async {
        let answer = app.try_create(&NewJob::noop()).await;
        if answer.status == 201 { Ok(answer.job()) } else { Err(answer.body) }
    });
    taken.await.unwrap()
}

async fn all_finish(app: &App, jobs: &[JobView]) {
    for job in app.all_ended(jobs).await {
        assert_eq!(job.status, Status::Finished, "{job:?}");
    }
}

/// Also what was stored and not answered comes to its end.
async fn nothing_is_half_there(app: &App) {
    poll::until("all that is stored to finish", SOON, || async {
        let left = app.stored_jobs(doc! { "status": { "$ne": "finished" } }).await;
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await
    .unwrap();
}

async fn admin(mongo: &Node, command: Document) {
    let url =
        format!("{}{}directConnection=true", mongo.url(), if mongo.url().contains('?') { "&" } else { "?" });
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    client.database("admin").run_command(command).await.unwrap();
}

/// Whatever mongod writes from now on fails: its journal and its tables are all longer than this.
fn no_file_may_grow(mongo: &Node) {
    let pid = mongo.pid().unwrap().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, "--fsize=4096:4096"]).status();
    assert!(done.unwrap().success());
}
