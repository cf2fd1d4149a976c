//! Cancelling, retrying and deleting jobs.

use std::time::Duration;

use e2e::{App, JobView, NewJob, Shared, Status};
use reqwest::Method;
use serde_json::json;
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(60);

static STACK: Shared = Shared::new(|| {
    Stack::builder().api(2).workers(2).env("WORKER_FAULTS", true).env("LOG", "info,http=debug")
});

async fn cancel(app: &App, job: &JobView) -> e2e::Answer {
    app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({ "reason": "no longer wanted" })).await
}

/// Has a job cancelled, and says how it ended: in the answer where that took less than a second, as
/// it does unless the machine is busy.
async fn cancelled(app: &App, job: &JobView) -> JobView {
    let answer = cancel(app, job).await;
    assert!([200, 202].contains(&answer.status), "{answer:?}");
    if answer.status == 200 { answer.job() } else { app.ended(job).await }
}

async fn retry(app: &App, job: &JobView) -> e2e::Answer {
    app.send(app.request(Method::POST, &format!("/v1/jobs/{}/retry", job.id))).await
}

async fn delete(app: &App, job: &JobView) -> e2e::Answer {
    app.send(app.request(Method::DELETE, &format!("/v1/jobs/{}", job.id))).await
}

#[tokio::test]
async fn a_running_job_is_stopped_and_says_so() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::sleep(600.0).timeout_s(900)).await;
    app.running(&job).await;
    let cancelled = cancelled(&app, &job).await;
    assert_eq!((cancelled.status, cancelled.attempt), (Status::Cancelled, 1));
    assert_eq!(cancelled.reason.as_deref(), Some("requested"));
    assert_eq!(app.ledger(&job).await.status, Status::Cancelled);
    let again = cancel(&app, &job).await.expect(409).json();
    assert_eq!((&again["code"], &again["job_status"]), (&json!("already_ended"), &json!("cancelled")));
}

#[tokio::test]
async fn a_job_that_waits_for_its_next_attempt_is_cancelled_at_once() {
    let app =
        App::start(Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 600))
            .await;
    let job = app.create(&NewJob::fault(&["retry"])).await;
    // The pause is a random one, and may be too short to be seen.
    let waits = || async { app.job(&job).await.next_at.is_some() };
    poll::until("an attempt to fail", SOON, waits).await.unwrap();
    let cancelled = cancelled(&app, &job).await;
    assert_eq!((cancelled.status, cancelled.error_code()), (Status::Cancelled, None));
}

#[tokio::test]
async fn a_cancel_that_is_known_before_the_claim_means_that_nothing_runs() {
    // The second worker serves another queue, but reads cancels like any other.
    let app = App::start(Stack::builder().api(1).workers(2).worker_env(1, "WORKER_QUEUES", "other")).await;
    app.stack().worker(0).kill().await.unwrap();
    let job = app.create(&NewJob::shuffle("never")).await;
    let cancelled = cancelled(&app, &job).await;
    assert_eq!((cancelled.status, cancelled.attempt), (Status::Cancelled, 0), "{cancelled:?}");

    app.stack().worker(0).start().await.unwrap();
    // When a later job is done, the announcement of the first has been met.
    assert_eq!(app.ended(&app.create(&NewJob::noop()).await).await.status, Status::Finished);
    let run = app.ledger(&job).await;
    assert_eq!((run.status, run.attempt), (Status::Cancelled, 0), "{run:?}");
    assert!(run.attempts.is_empty());
}

#[tokio::test]
async fn a_cancel_while_nats_is_away_is_passed_on_when_it_is_back() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let job = app.create(&NewJob::sleep(600.0).timeout_s(900)).await;
    app.running(&job).await;
    app.stack().nats().kill().await.unwrap();
    app.nats_is_missed().await;
    assert_eq!(cancel(&app, &job).await.status, 202);
    let queued = app.create(&NewJob::noop()).await;
    assert_eq!(cancel(&app, &queued).await.status, 202);
    app.stack().nats().start().await.unwrap();
    for job in [&job, &queued] {
        assert_eq!(app.ended(job).await.status, Status::Cancelled);
    }
}

#[tokio::test]
async fn cancel_and_finish_at_the_same_instant_have_one_outcome() {
    let app = STACK.app().await;
    let jobs = app.create_many(&NewJob::sleep(0.3), 20).await;
    let cancels = futures::future::join_all(jobs.iter().map(|job| cancel(&app, job))).await;
    for (job, answer) in jobs.iter().zip(cancels) {
        assert!([200, 202, 409].contains(&answer.status), "{answer:?}");
        let ended = app.ended(job).await;
        assert_eq!(ended.status, app.ledger(job).await.status, "{ended:?}");
        assert!(matches!(ended.status, Status::Cancelled | Status::Finished), "{ended:?}");
    }
}

#[tokio::test]
async fn a_job_that_ended_runs_again_and_keeps_its_earlier_run() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::fault(&["fail"])).await;
    assert_eq!(app.ended(&job).await.status, Status::Failed);
    assert_eq!(retry(&app, &job).await.expect(202).job().run, 2);
    let second = || async {
        let job = app.job(&job).await;
        if job.run == 2 && job.status == Status::Failed { Ok(()) } else { Err(format!("{job:?}")) }
    };
    poll::until("the second run to fail", SOON, second).await.unwrap();
    let attempts = app.get(&format!("/v1/jobs/{}/attempts", job.id)).await.expect(200).json();
    let told = attempts["attempts"].as_array().unwrap();
    let told: Vec<_> = told.iter().map(|one| (one["run"].as_u64(), one["outcome"].as_str())).collect();
    assert_eq!(told, [(Some(1), Some("failed")), (Some(2), Some("failed"))]);
}

#[tokio::test]
async fn a_wait_for_the_second_run_is_not_ended_by_a_late_event_of_the_first() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::sleep(60.0)).await;
    app.running(&job).await;
    assert_eq!(cancelled(&app, &job).await.run, 1);
    // The first run's end, as the stream keeps it.
    let events = app.stream("JOB_EVENTS").await;
    let ends = (1..=events.cached_info().state.last_sequence).rev();
    let mut late = None;
    for sequence in ends {
        let event = events.get_raw_message(sequence).await.expect("the stream can be read");
        if event.subject.starts_with("job:cancelled")
            && String::from_utf8_lossy(&event.payload).contains(&job.id)
        {
            late = Some(event);
            break;
        }
    }
    let late = late.expect("the first run's end");
    retry(&app, &job).await.expect(202);
    app.running(&job).await;

    let waits = tokio::spawn({
        let (client, job) = (app.replica(0), job.clone());
        async move { client.job_within(&job, 60).await }
    });
    let begun = || async { app.stack().api(0).log().lines().iter().any(|line| waits_for(line, &job)) };
    poll::until("the wait to begin", SOON, begun).await.unwrap();
    let jetstream = async_nats::jetstream::new(app.broker().await);
    let stored = jetstream.publish(late.subject.clone(), late.payload.clone()).await.expect("it is sent");
    let sequence = stored.await.expect("it is stored").sequence;
    let applied = || async {
        let reader = app.stream("JOB_EVENTS").await.consumer_info("api-service").await.expect("it is there");
        reader.ack_floor.stream_sequence >= sequence
    };
    poll::until("the late event to be applied", SOON, applied).await.unwrap();
    // What the replicas tell each other of it comes before this.
    app.replica(0).job(&job).await;
    assert!(!waits.is_finished(), "the end of the first run has ended the wait for the second");
    cancel(&app, &job).await;
    let seen = waits.await.unwrap();
    assert_eq!((seen.run, seen.status), (2, Status::Cancelled), "{seen:?}");
    assert_eq!(seen.reason.as_deref(), Some("requested"));
}

fn waits_for(line: &str, job: &JobView) -> bool {
    line.contains("waits for the job's end") && line.contains(&job.id)
}

#[tokio::test]
async fn only_a_job_that_ended_is_retried_or_deleted() {
    let app = STACK.app().await;
    let job = app.create(&NewJob::sleep(600.0).timeout_s(900)).await;
    for answer in [retry(&app, &job).await, delete(&app, &job).await] {
        assert_eq!(answer.expect(409).json()["code"], "not_ended");
    }
    cancel(&app, &job).await;
    app.ended(&job).await;
    assert_eq!(delete(&app, &job).await.status, 204);
    assert_eq!(app.get(&format!("/v1/jobs/{}", job.id)).await.status, 404);
    assert_eq!(delete(&app, &job).await.status, 404);
    assert_eq!(retry(&app, &job).await.status, 404);
}

#[tokio::test]
async fn a_job_that_many_delete_at_once_is_gone_and_its_id_is_kept() {
    let app = STACK.app().await;
    let jobs = app.create_many(&NewJob::noop(), 20).await;
    app.all_ended(&jobs).await;
    let deletes = jobs.iter().flat_map(|job| (0..6).map(|_| delete(&app, job)));
    let answers = futures::future::join_all(deletes).await;
    assert!(answers.iter().all(|answer| [204, 404].contains(&answer.status)), "{answers:?}");
    for job in &jobs {
        assert_eq!(app.get(&format!("/v1/jobs/{}", job.id)).await.status, 404);
    }
    // Or a late event about one of them would be about a job that was never here.
    let ids = jobs.iter().map(|job| bson::Uuid::parse_str(&job.id).expect("an id"));
    let stubs = bson::doc! { "_id": { "$in": ids.collect::<Vec<_>>() }, "gone_at": { "$exists": true } };
    assert_eq!(app.stored_jobs(stubs).await, 20);
}

#[tokio::test]
async fn many_jobs_are_cancelled_and_retried_at_once() {
    let app = STACK.app().await;
    let of = |queue: &str| NewJob::noop().queue(queue);
    let jobs = app.create_many(&of("nobody-serves-this"), 30).await;
    let path = "/v1/jobs/cancel?queue=nobody-serves-this";
    let answer = app.send(app.request(Method::POST, path)).await.expect(200).json();
    assert_eq!((&answer["cancel_requested"], &answer["more"]), (&json!(30), &json!(false)));
    for job in app.all_ended(&jobs).await {
        assert_eq!((job.status, job.attempt), (Status::Cancelled, 0));
    }
    let path = "/v1/jobs/retry?queue=nobody-serves-this";
    let answer = app.send(app.request(Method::POST, path)).await.expect(200).json();
    assert_eq!((&answer["retried"], &answer["more"]), (&json!(30), &json!(false)));
    assert_eq!(app.job(&jobs[0]).await.run, 2);
}

#[tokio::test]
async fn a_job_that_kills_its_worker_fails_and_from_its_third_attempt_on_hurts_nobody() {
    let app = App::start(
        Stack::builder()
            .api(1)
            .workers(1)
            .supervise(true)
            .env("WORKER_FAULTS", true)
            .env("LEASE_S", 1)
            .env("RETRY_BASE_S", 0.05),
    )
    .await;
    let poison = app.create(&NewJob::fault(&["abort"])).await;
    let ended = app.ended_within(&poison, 3 * SOON).await;
    assert_eq!((ended.status, ended.attempt), (Status::Failed, 5), "{ended:?}");
    let run = app.ledger(&poison).await;
    assert_eq!(run.outcomes(), ["lost", "lost", "failed", "failed", "failed"]);
    let error = ended.error.expect("it says why");
    assert_eq!(error.code, "crashed");
    assert!(error.message.contains("signal 6"), "{error:?}");
    assert_eq!(app.ended(&app.create(&NewJob::noop()).await).await.status, Status::Finished);
}
