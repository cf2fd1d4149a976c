//! Events written by hand, as another version of a service might write them, and what is set aside of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use bson::{Document, doc};
use mongodb::Collection;
use serde_json::{Value, json};
use stack::poll;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{App, JobView, app::collection};

/// Longer than a dead letter waits for its next look, and an event for its next delivery.
const PATIENCE: Duration = Duration::from_secs(120);

/// An event of this type about a job, as `source` would write it.
#[must_use]
pub fn event(event_type: &str, job: &str, data: &Value) -> Value {
    static EVENTS: AtomicU32 = AtomicU32::new(0);
    let number = EVENTS.fetch_add(1, Ordering::Relaxed);
    json!({
        "specversion": "1.0", "id": format!("by-hand-{number}"), "source": "/by/hand", "type": event_type,
        "subject": job, "time": now(), "data": data,
    })
}

/// The announcement of a job's first run.
#[must_use]
pub fn created(job: &JobView) -> Value {
    let data = json!({
        "job": job.id, "run": 1, "epoch": 1, "kind": job.kind, "queue": job.queue, "priority": job.priority,
        "payload": job.payload, "limits": { "timeout_s": job.timeout_s, "max_attempts": job.max_attempts },
        "created_at": now(),
    });
    event("job:created", &job.id, &data)
}

/// That the only attempt of a job's first run ended like this.
#[must_use]
pub fn finished(job: &JobView, outcome: &str) -> Value {
    let attempt = json!({
        "attempt": 1, "worker": "by-hand", "started_at": now(), "ended_at": now(), "outcome": outcome,
        "charged": true,
    });
    let data = json!({
        "job": job.id, "run": 1, "attempt": 1, "started_at": now(), "ended_at": now(), "attempts": [attempt],
    });
    event("job:finished", &job.id, &data)
}

/// The request to cancel a job's first run, for this reason.
#[must_use]
pub fn cancel(job: &JobView, reason: &str) -> Value {
    let data = json!({ "job": job.id, "run": 1, "kind": job.kind, "queue": job.queue, "reason": reason });
    event("job:cancel", &job.id, &data)
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("the time of day has such a form")
}

impl App {
    /// Has a stream store a message of this body.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn publish(&self, subject: &str, body: impl Into<String>) {
        self.publish_many(subject, [body.into()]).await;
    }

    /// Has a stream store messages of these bodies.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn publish_many(&self, subject: &str, bodies: impl IntoIterator<Item = String>) {
        let jetstream = async_nats::jetstream::new(self.broker().await);
        let publish = |body: String| jetstream.publish(subject.to_owned(), body.into());
        let sent = futures::future::join_all(bodies.into_iter().map(publish)).await;
        let stored = sent.into_iter().map(|sent| sent.expect("it is sent").into_future());
        for stored in futures::future::join_all(stored).await {
            stored.expect("a stream takes it");
        }
    }

    /// What the broker says of a consumer, as soon as it is there.
    ///
    /// # Panics
    /// Where that takes too long.
    pub async fn consumer(&self, stream: &str, name: &str) -> Info {
        let stream = self.stream(stream).await;
        let look = || stream.consumer_info(name);
        poll::until(name, PATIENCE, look).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the api-service has set aside.
    pub async fn api_dead_letters(&self) -> Collection<Document> {
        collection(self.stack().api_mongo(), "hasty_api", "dead_letters").await
    }

    /// What the job-service has set aside.
    pub async fn job_dead_letters(&self) -> Collection<Document> {
        collection(self.stack().job_mongo(), "hasty_jobs", "dead_letters").await
    }

    /// The job-service's ledger, as it stores it.
    pub async fn runs(&self) -> Collection<Document> {
        collection(self.stack().job_mongo(), "hasty_jobs", "runs").await
    }
}

/// Waits until so many dead letters pass the filter, and answers with them.
///
/// # Panics
/// Where that takes too long.
pub async fn letters(of: &Collection<Document>, filter: Document, count: usize) -> Vec<Document> {
    use futures::TryStreamExt;
    let look = || async {
        let found = of.find(filter.clone()).sort(doc! { "_id": 1 }).await.expect("they can be read");
        let found: Vec<Document> = found.try_collect().await.expect("they can be read");
        if found.len() == count { Ok(found) } else { Err(format!("{} of {count}: {found:?}", found.len())) }
    };
    poll::until("the dead letters", PATIENCE, look).await.unwrap_or_else(|error| panic!("{error}"))
}
