//! Messages of work queues that nobody would get again: a broker that died can have an ack on disk and still the message
//! that was acked, and one that came back with older files can forget to deliver again what was not acked.

use std::time::Duration;

use async_nats::jetstream::{AckKind, consumer::PullConsumer};
use e2e::{App, NewJob, Status};
use futures::StreamExt;
use stack::{Stack, poll};

use super::broker_files::{copy, replace, stream_folder};

const SOON: Duration = Duration::from_secs(120);

/// No consumer gets it again, so it would take room for as long as the stream keeps messages.
#[tokio::test]
async fn an_announcement_that_was_acked_and_is_still_there_is_removed() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let (nats, worker) = (app.stack().nats(), app.stack().worker(0));
    app.ended(&app.create(&NewJob::noop()).await).await;
    worker.kill().await.unwrap();
    let job = app.create(&NewJob::noop()).await;
    has_announcements(&app, 1).await;
    nats.terminate().await.unwrap();
    // What the consumers have acked is beside them.
    let messages = stream_folder(&app, "JOBS").join("msgs");
    let older = tempfile::tempdir().unwrap();
    copy(&messages, older.path());
    nats.start().await.unwrap();
    worker.start().await.unwrap();
    app.ended(&job).await;
    has_announcements(&app, 0).await;

    // All that the broker did is on disk, but for the removal of the message.
    nats.terminate().await.unwrap();
    replace(older.path(), &messages);
    worker.kill().await.unwrap();
    nats.start().await.unwrap();
    has_announcements(&app, 1).await;
    worker.start().await.unwrap();
    has_announcements(&app, 0).await;
    let job = app.job(&job).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 1));
}

/// As it is where the broker has forgotten that it is to come again: delivered, and not to come for an hour.
#[tokio::test]
async fn an_announcement_that_does_not_come_again_is_delivered_by_a_consumer_made_anew() {
    let app = App::start(Stack::builder().api(1).workers(1).env("LEASE_S", 1)).await;
    let worker = app.stack().worker(0);
    app.ended(&app.create(&NewJob::noop()).await).await;
    worker.kill().await.unwrap();
    let job = app.create(&NewJob::noop()).await;
    has_announcements(&app, 1).await;
    let consumer: PullConsumer =
        app.stream("JOBS").await.get_consumer("workers-default-normal").await.unwrap();
    // What the killed worker asked for may still wait, and would be given to nobody.
    let taken = || async {
        let mut messages = consumer.fetch().max_messages(1).messages().await.unwrap();
        messages.next().await.transpose().unwrap()
    };
    let announcement = poll::until("the announcement", SOON, taken).await.unwrap();
    announcement.ack_with(AckKind::Nak(Some(Duration::from_secs(3_600)))).await.unwrap();
    worker.start().await.unwrap();
    let job = app.ended_within(&job, Duration::from_secs(120)).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 1));
    has_announcements(&app, 0).await;
    let said = worker.log().lines().iter().any(|line| line.contains("consumer made anew"));
    assert!(said, "{:?}", worker.log().lines());
}

async fn has_announcements(app: &App, wanted: u64) {
    let look = || async {
        let found = app.stream("JOBS").await.cached_info().state.messages;
        if found == wanted { Ok(()) } else { Err(format!("{found}")) }
    };
    poll::until(&format!("{wanted} announcements"), SOON, look).await.unwrap();
}
