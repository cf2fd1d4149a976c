//! A small chaos run, and what `fsck` makes of healthy and of broken jobs.

use std::time::Duration;

use bson::doc;
use e2e::{App, JobView, NewJob};
use hasty::fsck;
use lab::chaos::{self, Settings};
use lab::endpoints;
use stack::{Profile, Stack, poll};

const SOON: Duration = Duration::from_secs(60);
const SEED: u64 = 20_261_120;

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_while_everything_is_killed_paused_cut_and_set_back() {
    println!("seed {SEED}");
    let settings = Settings {
        seed: SEED,
        jobs: 250,
        apis: 2,
        workers: 3,
        faults: true,
        replica_sets: false,
        clock_steps: false,
        profile: Profile::default(),
    };
    let outcome = chaos::run(settings, |line| println!("{line}")).await.unwrap();
    println!("{}", outcome.summary);
    assert_eq!(outcome.violations, [], "what is left of it is in {:?}", outcome.folder);
}

#[tokio::test]
async fn a_healthy_system_is_clean_whatever_its_jobs_wait_for() {
    let app = start().await;
    app.ended(&app.create(&NewJob::noop()).await).await;
    waits_for_its_retry(&app).await;
    app.running(&app.create(&NewJob::hangs_once()).await).await;
    app.create(&NewJob::noop().queue("nobody-serves-it")).await;
    // Outbox marks are taken off after a moment; until then they are what moves a job on.
    let looked = poll::until("all four to be accounted for", SOON, || async {
        let report = fsck::check(&endpoints(app.stack())).await.map_err(|error| format!("{error:#}"))?;
        let by: Vec<_> = report.moved_by.keys().copied().collect();
        if by == ["lease", "retry's due time", "waiting in JOBS"] {
            Ok(report)
        } else {
            Err(report.to_string())
        }
    });
    let report = looked.await.unwrap();
    assert!(report.is_clean() && report.ended == 1, "{report}");
}

#[tokio::test]
async fn a_job_that_nothing_moves_on_is_named() {
    let app = start().await;
    let (healthy, broken) = (waits_for_its_retry(&app).await, waits_for_its_retry(&app).await);
    forget_duty(&app, &broken).await;
    let report = fsck::check(&endpoints(app.stack())).await.unwrap();
    let named: Vec<String> = report.broken.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(named, [broken.id], "{report}; {} is healthy", healthy.id);
}

#[tokio::test]
async fn databases_that_disagree_about_an_end_are_noticed() {
    let app = start().await;
    let job = app.create(&NewJob::noop()).await;
    app.ended(&job).await;
    assert!(fsck::check(&endpoints(app.stack())).await.unwrap().is_clean());
    let failed = doc! { "$set": { "status": "failed" } };
    let run = doc! { "_id": format!("{}.1", job.id) };
    app.runs().await.update_one(run, failed).await.unwrap();
    let report = fsck::check(&endpoints(app.stack())).await.unwrap();
    assert_eq!(report.broken.len(), 1, "{report}");
    assert!(report.to_string().contains("failed after attempt 1 in the ledger"), "{report}");
}

async fn start() -> App {
    let builder = Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 600);
    App::start(builder).await
}

/// Its first attempt fails, and the next one is more than a minute away (the pause is a random one).
async fn waits_for_its_retry(app: &App) -> JobView {
    loop {
        let job = app.create(&NewJob::fault(&["retry"])).await;
        let id = format!("{}.1", job.id);
        let told = || app.ledger_runs(doc! { "_id": &id, "next_action": "run", "status": "queued" });
        poll::until("the retry to be announced", SOON, || async { told().await == 1 }).await.unwrap();
        let in_a_minute = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() + 60_000);
        if app.ledger_runs(doc! { "_id": &id, "next_at": { "$gt": in_a_minute } }).await == 1 {
            return job;
        }
    }
}

/// What no bug should do: nobody looks after this job any more.
async fn forget_duty(app: &App, job: &JobView) {
    let forget = doc! { "$unset": { "next_action": "", "next_action_at": "" } };
    let run = doc! { "_id": format!("{}.1", job.id) };
    let done = app.runs().await.update_one(run, forget).await.unwrap();
    assert_eq!(done.modified_count, 1);
}
