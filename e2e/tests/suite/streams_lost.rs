//! `JOB_EVENTS` or `JOB_CONTROL` alone is lost or set back to an older copy.

use bson::doc;
use e2e::{App, Gate, NewJob, Status};
use serde_json::json;
use stack::poll;

use super::broker_files::StreamCopy;
use super::broker_lost::{PROMPTLY, SOON, announced, quick};

/// An end that no api-service has applied is in `JOB_EVENTS` alone.
#[tokio::test]
async fn ends_that_went_to_a_lost_stream_of_events_are_told_again() {
    for lose in [Loss::Deleted, Loss::SetBack] {
        let app = App::start(quick().env("WORKER_FAULTS", true)).await;
        let copy = StreamCopy::of(&app, "JOB_EVENTS").await;
        let before = app.ended(&app.create(&NewJob::noop()).await).await;
        written_down(&app, "JOB_EVENTS").await;
        let gate = Gate::new();
        let job = app.create(&gate.job()).await;
        announced(&app, std::slice::from_ref(&job)).await;
        let api = app.stack().api(0);
        api.kill().await.unwrap();
        gate.open();
        let told = || async { app.ledger_runs(doc! { "status": "finished" }).await == 2 };
        poll::until("the end to be recorded", SOON, told).await.unwrap();
        let acked = || async { app.stream("JOBS").await.cached_info().state.messages == 0 };
        poll::until("the end to be announced", SOON, acked).await.unwrap();
        lose.of(&copy, "JOB_EVENTS", &app).await;
        api.start().await.unwrap();
        let job = app.ended_within(&job, PROMPTLY).await;
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{lose:?}");
        assert_eq!(app.job(&before).await.status, Status::Finished);
    }
}

/// A cancel that no worker has read is in `JOB_CONTROL` alone.
#[tokio::test]
async fn cancels_that_went_to_a_lost_stream_of_cancels_are_passed_on_again() {
    for lose in [Loss::Deleted, Loss::SetBack] {
        let app = App::start(quick()).await;
        let first = app.create(&NewJob::sleep(60.0)).await;
        app.running(&first).await;
        app.post(&format!("/v1/jobs/{}/cancel", first.id), &json!({})).await;
        app.ended(&first).await;
        let copy = StreamCopy::of(&app, "JOB_CONTROL").await;
        let job = app.running(&app.create(&NewJob::sleep(60.0)).await).await;
        announced(&app, std::slice::from_ref(&job)).await;
        let worker = app.stack().worker(0);
        worker.kill().await.unwrap();
        app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await.expect(202);
        announced(&app, std::slice::from_ref(&job)).await;
        lose.of(&copy, "JOB_CONTROL", &app).await;
        worker.start().await.unwrap();
        // Its lease may end first: then the next attempt is cancelled.
        assert_eq!(app.ended_within(&job, PROMPTLY).await.status, Status::Cancelled, "{lose:?}");
    }
}

/// Waits until the api-service has written down how far the stream has come: one that is set back below that is noticed
/// also by a replica that starts later.
async fn written_down(app: &App, stream: &str) {
    let is_written = || async {
        let last = app.stream(stream).await.cached_info().state.last_sequence;
        let known = app.state(stream).await;
        if known.get_i64("last").ok() == i64::try_from(last).ok() {
            Ok(())
        } else {
            Err(format!("{known} of {last}"))
        }
    };
    poll::until("the stream's end to be written down", SOON, is_written).await.unwrap();
}

/// How a stream gets lost while NATS goes on.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Deleted,
    SetBack,
}

impl Loss {
    async fn of(self, copy: &StreamCopy, stream: &str, app: &App) {
        match self {
            Self::Deleted => drop(app.jetstream().await.delete_stream(stream).await.unwrap()),
            Self::SetBack => copy.put_back(app).await,
        }
    }
}
